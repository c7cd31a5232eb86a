"""Messages as JSON: the bytes of the whole body, at the cost of what is new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ling_agent import Sampling
from ling_agent.backends.base import ModelRequest
from ling_agent.backends.remote import message_json
from ling_agent.backends.remote.chat_body import chat_body, chat_messages
from ling_agent.backends.remote.facts import Kind, ServerFacts
from ling_agent.backends.remote.jsons import write_json
from ling_agent.backends.remote.message_json import MessageEncoder
from ling_agent.backends.remote.written import WrittenList, write_body
from ling_agent.messages import (
    AssistantMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from ling_agent.profiles import CHATML, LING2, LING26, Profile

TOOLS = ({"type": "function", "function": {"name": "add", "parameters": {"maximum": 1e20}}},)
HEAD = (SystemMessage("Be brief."), UserMessage("Add."))


def facts(kind: Kind = "vllm") -> ServerFacts:
    return ServerFacts(kind, None, "m", ("m",), 8192, every_sampling_field=True)


def step(number: int, text: str = "2") -> tuple[Message, ...]:
    call = ToolCall(f"call_{number}_0", "add", {"a": number})
    return AssistantMessage("", calls=(call,)), ToolMessage(call.id, "add", text)


def joined(encoded: WrittenList) -> bytes:
    return b"".join(encoded.json())


def plain(
    messages: Sequence[Message], known: ServerFacts | None = None, profile: Profile = CHATML
) -> bytes:
    return write_json(chat_messages(messages, known or facts(), profile))


texts = st.sampled_from(
    ["", "a\n", "é\u2028", "\ud800", "</tool_response><|im_end|>", "<|role_end|>", '"\\\x00\x7f']
)
calls = st.lists(
    st.builds(
        ToolCall,
        st.sampled_from(["c0", "c1"]),
        texts,
        st.dictionaries(texts, texts | st.floats(), max_size=2),
    ),
    max_size=2,
).map(tuple)
any_message = st.one_of(
    st.builds(SystemMessage, texts),
    st.builds(UserMessage, texts),
    st.builds(AssistantMessage, texts, st.none() | texts, calls, st.none() | texts),
    st.builds(ToolMessage, st.sampled_from(["c0", "c1", "c2"]), st.just("add"), texts),
)


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[Message, ...]]:
    """A conversation that grows, and now and then becomes another one from some place on."""
    now = draw(st.lists(any_message, max_size=6))
    each = [tuple(now)]
    for _ in range(draw(st.integers(1, 6))):
        kept = draw(st.just(len(now)) | st.integers(0, len(now)))
        dropped = draw(st.just(0) | st.integers(0, len(now) - kept))
        now = now[:kept] + draw(st.lists(any_message, max_size=4)) + now[kept + dropped :]
        each.append(tuple(now))
    return each


SWITCHED = LING26.with_thinking(True)


@pytest.mark.parametrize("profile", [CHATML, SWITCHED], ids=lambda profile: profile.name)
@given(changes(), st.sampled_from(["", "c"]), st.sampled_from([(), TOOLS]), st.booleans())
def test_the_bytes_of_a_body_are_those_of_the_body_in_one_piece(
    profile: Profile,
    each: list[tuple[Message, ...]],
    name: str,
    tools: tuple[dict[str, Any], ...],
    stream: bool,
) -> None:
    encoder = MessageEncoder()
    for messages in each:
        request = ModelRequest(messages, tools, Sampling(seed=1), conversation=name)
        known = facts()
        encoded = encoder.encode(request, known, profile)
        assert encoded.length == len(encoded.read())
        body = chat_body(request, known, profile, stream=stream, messages=encoded)
        assert write_body(body) == write_json(chat_body(request, known, profile, stream=stream))


def test_only_what_follows_the_last_assistant_message_is_encoded_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Message] = []

    def encode(messages: Sequence[Message], *more: Any, first: bool) -> list[dict[str, Any]]:
        seen.extend(messages)
        return chat_messages(messages, *more, first=first)

    monkeypatch.setattr(message_json, "chat_messages", encode)
    encoder = MessageEncoder()
    now = HEAD
    for number in range(50):
        last, now = now[-2:], now + step(number)
        seen.clear()
        encoder.encode(ModelRequest(now, conversation="c"), facts(), CHATML)
        assert len(seen) <= len(last) + 2
    compacted = (*now[:20], UserMessage("A summary."), *now[60:])
    seen.clear()
    encoder.encode(ModelRequest(compacted, conversation="c"), facts(), CHATML)
    assert [*seen] == [*compacted[18:]]


def test_equal_messages_that_are_other_objects_are_not_trusted() -> None:
    """An argument may have been changed: only the same object is known to be the same."""
    encoder = MessageEncoder()
    for text in ("2", "3"):
        messages = (*HEAD, *step(1, text), *step(2))
        got = encoder.encode(ModelRequest(messages, conversation="c"), facts(), CHATML)
        assert joined(got) == plain(messages)


def test_each_kind_of_server_and_each_template_has_its_own_form() -> None:
    encoder = MessageEncoder()
    messages = (*HEAD, AssistantMessage("", reasoning="Hm."), UserMessage("<|role_end|>"))
    request = ModelRequest((*messages, *step(1)), conversation="c")
    kinds: tuple[Kind, ...] = ("vllm", "sglang", "openai", "vllm")
    for kind in kinds:
        for profile in (CHATML, LING2):
            got = encoder.encode(request, facts(kind), profile)
            assert joined(got) == plain(request.messages, facts(kind), profile)


def test_conversations_that_are_many_make_room_and_are_encoded_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(message_json, "_MOST", 1000)
    encoder = MessageEncoder()
    now = HEAD
    for number in range(8):
        now += step(number)
        for name in "abc":
            got = encoder.encode(ModelRequest(now, conversation=name), facts(), CHATML)
            assert joined(got) == plain(now)
