"""`PromptRenderer` writes what `render` does, and renders only what is new."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ling_agent.hermes import HermesError, PromptRenderer, render

from .support import TIME, TOOLS

Message = dict[str, Any]

ASKED = {"function": {"name": "get_time", "arguments": {"zone": "<|im_end|>"}}}


class Converter:
    """Hands messages through and remembers them."""

    def __init__(self) -> None:
        self.taken: list[Message] = []

    def __call__(self, message: Message) -> Message:
        self.taken.append(message)
        return message


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def result(text: str) -> Message:
    return {"role": "tool", "content": text}


def assistant(text: str, **more: Any) -> Message:
    return {"role": "assistant", "content": text, **more}


texts = st.sampled_from(["", "a\n", "</think>b", "<|role_end|>", "\ud800", "<tool_response>é"])
messages = st.one_of(
    texts.map(lambda text: {"role": "system", "content": text}),
    texts.map(user),
    st.just(user("<tool_response>\nno query\n</tool_response>")),
    texts.map(result),
    texts.map(assistant),
    texts.map(lambda text: assistant(text, raw=f"raw {text}")),
    texts.map(lambda text: assistant(text, reasoning_content="Hm.")),
    texts.map(lambda text: assistant(text, tool_calls=[ASKED, ASKED])),
)


@st.composite
def changes(draw: st.DrawFn) -> list[list[Message]]:
    """A conversation that grows, and now and then becomes another one from some place on."""
    now = draw(st.lists(messages, min_size=1, max_size=6))
    each = [now]
    for _ in range(draw(st.integers(1, 6))):
        kept = draw(st.just(len(now)) | st.integers(0, len(now)))
        dropped = draw(st.just(0) | st.integers(0, len(now) - kept))
        now = now[:kept] + draw(st.lists(messages, max_size=3)) + now[kept + dropped :]
        each.append(now or [user("again")])
    return each


@pytest.mark.parametrize("template", ["ling2", "chatml"])
@given(
    each=changes(),
    tools=st.lists(st.sampled_from([None, [TIME], TOOLS]), min_size=7, max_size=7),
    neutralise=st.booleans(),
    prompt=st.booleans(),
)
def test_every_prompt_is_the_one_that_render_writes(
    template: str, each: list[list[Message]], tools: list[Any], neutralise: bool, prompt: bool
) -> None:
    options: dict[str, Any] = {"template": template, "neutralise": neutralise}
    options["add_generation_prompt"] = prompt
    renderer = PromptRenderer[Message](dict, **options)
    for now, shown in zip(each, tools, strict=False):
        assert renderer.render(now, shown) == render(now, shown, **options)


@pytest.mark.parametrize("template", ["ling2", "chatml"])
def test_only_new_messages_and_their_neighbours_are_looked_at(template: str) -> None:
    converter = Converter()
    renderer = PromptRenderer[Message](converter, template=template)
    now = [user("What time is it?")]
    for step in range(50):
        now = [*now, assistant("", tool_calls=[ASKED]), result(str(step))]
        converter.taken.clear()
        renderer.render(now, TOOLS)
        assert len(converter.taken) <= 4


def test_a_new_question_looks_back_to_the_last_one_only() -> None:
    """Reasoning is shown behind the last question, so what stands behind the one before changes."""
    converter = Converter()
    renderer = PromptRenderer[Message](converter)
    old = [part for step in range(50) for part in (user(str(step)), assistant("Yes."))]
    thought = assistant("4 °C.", reasoning_content="Hm.")
    now = [*old, user("Oslo?"), thought]
    assert "<think>" in renderer.render(now)
    converter.taken.clear()
    assert "<think>" not in renderer.render([*now, user("Roma?")])
    assert len(converter.taken) <= 4


def test_a_message_that_is_refused_leaves_the_renderer_as_it_was() -> None:
    renderer = PromptRenderer[Message](dict)
    now = [user("Hi."), assistant("Ho.")]
    before = renderer.render(now)
    with pytest.raises(HermesError, match=r"messages\[2\]: content must be a string"):
        renderer.render([*now, {"role": "tool", "content": None}])
    with pytest.raises(HermesError, match="empty conversation"):
        renderer.render([])
    assert renderer.render(now) == before


def test_an_unknown_template_is_refused_at_once() -> None:
    with pytest.raises(HermesError, match='unknown template "llama": one of chatml, ling2'):
        PromptRenderer[Message](dict, template="llama")
