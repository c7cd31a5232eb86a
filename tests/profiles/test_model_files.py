"""The profiles of the real model files, against the chat templates that they carry."""

from __future__ import annotations

import pytest

from ling_agent import catalog
from ling_agent.backends.gguf import read_gguf_header
from ling_agent.hermes import render
from ling_agent.profiles import CHATML, PLAIN, Profile, profile_for_gguf

from ..hermes.conversations import CHOSEN_TOOLS, CONVERSATIONS, Message, compiled

pytestmark = pytest.mark.model


def of_file(alias: str) -> tuple[Profile, str]:
    """The profile of a cached model, and its chat template."""
    path = catalog.cached_path(alias)
    assert path is not None, f"run `ling-agent models pull {alias}` (`make test` does)"
    metadata = read_gguf_header(path).metadata
    texts = {key: value for key, value in metadata.items() if isinstance(value, str)}
    return profile_for_gguf(texts), texts["tokenizer.chat_template"]


@pytest.mark.parametrize("tools", CHOSEN_TOOLS.values(), ids=CHOSEN_TOOLS.keys())
def test_qwen25(tools: list[Message]) -> None:
    profile, template = of_file("qwen2.5-coder-0.5b")
    assert profile is CHATML
    official = compiled(template, {})
    for messages in CONVERSATIONS.values():
        expected = official(messages=messages, tools=tools, add_generation_prompt=True)
        assert render(messages, tools, template=profile.template) == expected


def test_smollm2_is_plain() -> None:
    """Its template knows no tools, and has a system text of its own where there is none."""
    profile, template = of_file("smollm2-135m")
    assert profile is PLAIN
    official = compiled(template, {})
    compared = 0
    for messages in CONVERSATIONS.values():
        if messages[0]["role"] == "system" and all(one["role"] != "tool" for one in messages):
            expected = official(messages=messages, add_generation_prompt=True)
            assert render(messages, template=profile.template) == expected
            compared += 1
    assert compared > 3
