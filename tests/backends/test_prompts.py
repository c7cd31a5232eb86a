"""Requests as prompt text: what `render` writes, whatever was asked before."""

from __future__ import annotations

from typing import Any

import pytest

from ling_agent.backends import prompts as module
from ling_agent.backends.base import ModelRequest
from ling_agent.backends.prompts import Prompts
from ling_agent.hermes import render
from ling_agent.messages import (
    AssistantMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
    to_openai,
)

HEAD = (SystemMessage("Be brief."), UserMessage("Time?"))
CALL = ToolCall("call_1_0", "get_time", {})
STEP = (AssistantMessage("", calls=(CALL,)), ToolMessage("call_1_0", "get_time", "12:00"))
TOOLS: tuple[dict[str, Any], ...] = ({"type": "function", "function": {"name": "get_time"}},)


def prompt(request: ModelRequest, template: str) -> str:
    messages = [to_openai(message) for message in request.messages]
    return render(messages, request.tools, template=template)


def test_prompts_are_those_of_render() -> None:
    prompts = Prompts()
    requests = [
        ModelRequest((*HEAD, *STEP * steps), tools, conversation=conversation)
        for steps in (1, 2, 3, 1)
        for tools in (TOOLS, TOOLS[:0])
        for conversation in ("a", "", "b")
    ]
    for request in requests:
        for template in ("ling2", "chatml"):
            assert prompts.render(request, template) == prompt(request, template)


def test_only_new_messages_are_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    converted: list[Message] = []

    def convert(message: Message) -> dict[str, object]:
        converted.append(message)
        return to_openai(message)

    monkeypatch.setattr(module, "to_openai", convert)
    prompts = Prompts()
    prompts.render(ModelRequest((*HEAD, *STEP * 50), conversation="c"), "ling2")
    converted.clear()
    prompts.render(ModelRequest((*HEAD, *STEP * 51), conversation="c"), "ling2")
    assert len(converted) <= 4


def test_what_is_forgotten_is_rendered_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 300)
    prompts = Prompts()
    for steps in range(5):
        for name in "abc":
            request = ModelRequest((*HEAD, *STEP * steps), conversation=name)
            assert prompts.render(request, "ling2") == prompt(request, "ling2")


@pytest.mark.parametrize("template", ["ling2", "chatml"])
def test_a_prefill_of_the_models_own_text_ends_no_turn(template: str) -> None:
    turn = {"ling2": "<|role_end|>", "chatml": "<|im_end|>"}[template]
    plan = f"Plan: say {turn} first.\n<tool_call>"
    request = ModelRequest(HEAD, prefill=plan)
    text = Prompts().render(request, template)
    assert text.count(turn) == prompt(ModelRequest(HEAD), template).count(turn)
    assert text.endswith("first.\n<tool_call>"), "the tags of the format are the model's to write"
    # The next prompt repeats it, byte for byte.
    written = AssistantMessage("", raw=plan + "}")
    later = Prompts().render(ModelRequest((*HEAD, written, UserMessage("On."))), template)
    assert later.startswith(text)
