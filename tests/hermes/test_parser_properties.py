"""Properties of the parser: it never raises, chunks do not matter, a rendered call comes back."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ling_agent.hermes import (
    SPECIAL_TOKENS,
    CallFailed,
    CallParsed,
    collect,
    parse,
    render_call,
)

from .support import TOOLS, check_deltas, events_of

FRAGMENTS = (
    *("<tool_call>", "</tool_call>", "<tool_call >", "<tools>", "</tools>", "<think>", "</think>"),
    *("<tool_response>", "</tool_response>", "<|im_end|>", "<|im_start|>", "<|role_end|>"),
    *("<role>HUMAN</role>", "<role>ASSISTANT</role>", "assistant\n", "user", "```", "```json\n"),
    *("<function=get_weather>", "<parameter=city>", "</parameter>", "</function>", "get_weather"),
    *("<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", "`", "\\", "\\n", "\\u12", '\\"'),
    *('{"name": "get_weather", "arguments": {"city": "Oslo"}}', '{"name": "get_time"}'),
    *('{"name": "get_weather", "arguments": {', '"city": "', '"', "'", "{", "}", "[", "]", ","),
    *(
        "<|im_",
        "end|>",
        "<|startoftext|>",
        "<role>HU",
        "MAN</role>",
        "\\ud83d",
        '"a\\nb"',
        "\u2028",
    ),
    *(":", "}}", "True", "1", ".5", " ", "\n", "\u200b", "<", ">", "</", "</tool", "text", "é😀"),
)

CONTROL = (
    *SPECIAL_TOKENS,
    *(f"<role>{who}</role>" for who in ("SYSTEM", "HUMAN", "ASSISTANT", "OBSERVATION")),
)

messages = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join),
    st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=5)), max_size=10).map("".join),
)
options = st.fixed_dictionaries(
    {
        "tools": st.sampled_from([None, [], TOOLS]),
        "starts_in_reasoning": st.booleans(),
        "bare_json": st.booleans(),
        "finish_reason": st.sampled_from(["stop", "length"]),
    }
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(FRAGMENTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=10,
)
arguments = st.dictionaries(st.text(max_size=8), json_values, max_size=4)


def cut(text: str, cuts: list[int]) -> list[str]:
    edges = sorted({0, len(text), *(at % (len(text) + 1) for at in cuts)})
    return [text[start:end] for start, end in itertools.pairwise(edges)]


@settings(max_examples=300, deadline=None)
@given(text=messages, options=options, cuts=st.lists(st.integers(0, 500), max_size=8))
def test_any_text_in_any_chunks(text: str, options: dict[str, Any], cuts: list[int]) -> None:
    whole = parse(text, **options)
    for chunks in (cut(text, cuts), list(text)):
        events = events_of(chunks, **options)
        assert collect(events) == whole
        check_deltas(events, whole)
    numbers = [one.index for one in (*whole.calls, *whole.errors)]
    assert sorted(numbers) == list(range(len(numbers)))
    for error in whole.errors:
        assert len(error.message.splitlines()) == 1
        error.message.encode()
    assert not [token for token in CONTROL if token in whole.content]
    json.dumps([call.arguments for call in whole.calls]).encode()


@settings(max_examples=200, deadline=None)
@given(given_arguments=arguments, cuts=st.lists(st.integers(0, 500), max_size=8))
def test_a_rendered_call_comes_back(given_arguments: dict[str, Any], cuts: list[int]) -> None:
    text = render_call("f", given_arguments)
    events = events_of(cut(text, cuts))
    (call,) = [event for event in events if isinstance(event, CallParsed)]
    assert (call.name, call.arguments, call.repairs) == ("f", given_arguments, ())
    assert not collect(events).content


@settings(max_examples=100, deadline=None)
@given(many=st.lists(arguments, min_size=1, max_size=4), text=st.sampled_from(["", "Hi.", "a < b"]))
def test_several_rendered_calls_come_back(many: list[dict[str, Any]], text: str) -> None:
    calls = "\n".join(render_call(f"f{at}", one) for at, one in enumerate(many))
    message = parse(f"{text}\n{calls}")
    assert [call.arguments for call in message.calls] == many
    assert message.content.strip() == text
    assert not message.errors


@settings(max_examples=200, deadline=None)
@given(given_arguments=arguments, data=st.data())
def test_a_truncated_call_is_never_a_call(given_arguments: dict[str, Any], data: Any) -> None:
    text = render_call("write_file", given_arguments)
    complete = text.rindex("}") + 1
    at: int = data.draw(st.integers(len("<tool_call>"), complete - 1))
    for reason in ("stop", "length"):
        events = events_of([text[:at]], tools=TOOLS, bare_json=True, finish_reason=reason)
        assert not [event for event in events if isinstance(event, CallParsed)]
        (failure,) = [event for event in events if isinstance(event, CallFailed)]
        assert failure.kind == "incomplete_tool_call"
