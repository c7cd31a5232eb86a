"""One answer of a server: streamed equals unstreamed, and what was lost on the way is noticed."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ling_agent import Sampling
from ling_agent.backends.base import Chunk, Finished, ModelRequest, ReasoningChunk, TextChunk
from ling_agent.backends.remote.chat_reader import ChatReader, merged
from ling_agent.backends.remote.facts import Kind, ServerFacts
from ling_agent.hermes import parse
from ling_agent.messages import UserMessage
from ling_agent.profiles import CHATML, LING2, Profile

from .hostile import delta, message, usage


def tool(name: str, *required: str) -> dict[str, Any]:
    properties = {"a": {"type": "integer"}}
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS = (tool("add", "a"), tool("look"))
TAGGED = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'


def facts(kind: Kind = "vllm", **more: Any) -> ServerFacts:
    return ServerFacts(kind, None, "m", ("m",), 8192, **more)


def piece(arguments: object, name: str | None = "add", index: int = 0) -> dict[str, Any]:
    function = {"arguments": arguments} | ({} if name is None else {"name": name})
    return {"index": index, "id": f"c{index}" if name else None, "function": function}


def read(
    *events: dict[str, Any],
    streamed: bool = True,
    kind: Kind = "vllm",
    known: ServerFacts | None = None,
    tools: tuple[dict[str, Any], ...] = TOOLS,
    profile: Profile = CHATML,
    max_tokens: int = 100,
) -> tuple[str, str, Finished]:
    """Text, reasoning and end of an answer."""
    request = ModelRequest((UserMessage("Hi."),), tools, Sampling(max_tokens=max_tokens))
    reader = ChatReader(
        request,
        known or facts(kind),
        profile=profile,
        streamed=streamed,
        prompt_size=lambda: 70,
    )
    chunks: list[Chunk] = []
    for event in events:
        chunks += reader.take(event)
    chunks += reader.finish(seconds=2.0, first_token=0.5)
    (end,) = (chunk for chunk in chunks if isinstance(chunk, Finished))
    assert chunks[-1] is end
    text = "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk))
    thought = "".join(chunk.text for chunk in chunks if isinstance(chunk, ReasoningChunk))
    return text, thought, end


# -- streamed equals unstreamed ---------------------------------------------------------------

texts = st.text(max_size=20) | st.just(f"See: {TAGGED}")
arguments = st.dictionaries(st.text(max_size=3), st.text(max_size=6) | st.integers(), min_size=1)
made_calls = st.lists(st.tuples(st.sampled_from(["add", "look"]), arguments), max_size=3)


def split(data: st.DataObject, text: str) -> list[str]:
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=4).map(sorted))
    return [text[start:end] for start, end in itertools.pairwise([0, *cuts, len(text)])]


def call_pieces(data: st.DataObject, index: int, name: str, text: str) -> list[dict[str, Any]]:
    first, *rest = split(data, text)
    return [piece(first, name, index), *(piece(each, None, index) for each in rest)]


@given(texts, texts, made_calls, st.data())
def test_any_deltas_give_what_the_whole_message_gives(
    content: str, reasoning: str, made: list[tuple[str, dict[str, Any]]], data: st.DataObject
) -> None:
    written = [(name, json.dumps(given_arguments)) for name, given_arguments in made]
    whole = [piece(text, name, index) for index, (name, text) in enumerate(written)]
    finish = "tool_calls" if made else "stop"
    kind: Kind = data.draw(st.sampled_from(["vllm", "sglang", "openai"]))
    at_once = read(
        message(finish, tokens=5, content=content, reasoning=reasoning, tool_calls=whole),
        streamed=False,
        kind=kind,
    )
    pieces = [delta(reasoning=each) for each in split(data, reasoning)]
    pieces += [delta(content=each) for each in split(data, content)]
    for index, (name, text) in enumerate(written):
        each = call_pieces(data, index, name, text)
        groups = split(data, "x" * len(each))
        starts = itertools.accumulate(map(len, groups), initial=0)
        pieces += [
            delta(tool_calls=each[start : start + len(group)])
            for start, group in zip(starts, groups, strict=False)
        ]
    in_pieces = read(*pieces, delta(finish), usage(completion=5), kind=kind)
    assert in_pieces == at_once


words = st.text("abc ", max_size=8)


@given(
    st.lists(words | st.tuples(st.sampled_from(["add", "look"]), arguments), max_size=6), st.data()
)
def test_text_between_and_behind_calls_never_gets_into_a_call(
    parts: list[str | tuple[str, dict[str, Any]]], data: st.DataObject
) -> None:
    pieces: list[dict[str, Any]] = []
    index = 0
    for part in parts:
        if isinstance(part, str):
            pieces += [delta(content=each) for each in split(data, part)]
        else:
            each = call_pieces(data, index, part[0], json.dumps(part[1]))
            pieces += [delta(tool_calls=[one]) for one in each]
            index += 1
    text, _, _ = read(*pieces, delta("stop"), usage())
    seen = parse(text)
    assert [(call.name, call.arguments) for call in seen.calls] == [
        part for part in parts if not isinstance(part, str)
    ]
    said = "".join(part for part in parts if isinstance(part, str))
    assert seen.content.split() == said.split() or seen.content.replace(" ", "").replace(
        "\n", ""
    ) == said.replace(" ", "")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
fields = ("content", "reasoning", "reasoning_content", "tool_calls", "role")
messages = st.fixed_dictionaries({}, optional=dict.fromkeys(fields, json_values)) | json_values
choices = st.fixed_dictionaries(
    {}, optional={"delta": messages, "message": messages, "finish_reason": json_values}
)
counts = ("completion_tokens", "prompt_tokens_details")
told = st.fixed_dictionaries(
    {"prompt_tokens": json_values | st.integers(0, 9)}, optional=dict.fromkeys(counts, json_values)
)
odd_events = st.fixed_dictionaries(
    {"usage": told | json_values}, optional={"choices": st.lists(choices, max_size=2) | json_values}
)


@given(st.lists(odd_events, max_size=5), st.booleans())
def test_whatever_a_server_sends_is_read_without_an_error(
    events: list[dict[str, Any]], streamed: bool
) -> None:
    _, _, end = read(*events, streamed=streamed)
    assert isinstance(end.usage.prompt_tokens, int)
    assert isinstance(end.usage.completion_tokens, int)


@given(st.lists(st.text(max_size=3).map(TextChunk) | st.text(max_size=3).map(ReasoningChunk)))
def test_chunks_that_came_together_are_read_together(chunks: list[Chunk]) -> None:
    def joined(of: list[Chunk]) -> list[tuple[type, str]]:
        said = (c for c in of if isinstance(c, TextChunk | ReasoningChunk))
        grouped = itertools.groupby(said, key=type)
        return [(kind, "".join(chunk.text for chunk in group)) for kind, group in grouped]

    together = merged(chunks)
    assert joined(together) == joined(chunks)
    texts = [isinstance(chunk, TextChunk) for chunk in together]
    assert not any(one and other for one, other in itertools.pairwise(texts))


# -- how an answer ends -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("finish", "tokens", "reason"),
    [
        ("stop", 5, "stop"),
        ("length", 100, "length"),
        ("length", 5, "length"),
        ("stop", 100, "stop"),
        ("content_filter", 5, "stop"),
        ("eos_token", 5, "stop"),
    ],
)
def test_the_reason_why_a_text_ended(finish: str, tokens: int, reason: str) -> None:
    _, _, end = read(delta(content="Hi."), delta(finish), usage(completion=tokens))
    assert end.finish_reason == reason


def test_an_answer_has_ended_when_the_server_says_why() -> None:
    request = ModelRequest((UserMessage("Hi."),))
    reader = ChatReader(request, facts(), profile=CHATML, streamed=True, prompt_size=lambda: 10)
    reader.take(delta(content="Hi."))
    reader.take(usage())
    assert not reader.ended
    reader.take(delta("stop"))
    assert reader.ended


@pytest.mark.parametrize("finish", ["tool_calls", "stop", "length"])
def test_calls_that_the_limit_has_cut_stay_open(finish: str) -> None:
    text, _, end = read(delta(tool_calls=[piece('{"a": 1}')]), delta(finish), usage(completion=100))
    assert end.finish_reason == "length"
    assert parse(text, finish_reason="length").calls == []
    assert end.lost == ""


def test_a_text_that_was_cut_behind_a_call_leaves_the_call_whole() -> None:
    text, _, end = read(
        delta(tool_calls=[piece('{"a": 1}')]), delta(content="And so"), delta("length"), usage()
    )
    assert [call.arguments for call in parse(text, finish_reason=end.finish_reason).calls] == [
        {"a": 1}
    ]
    assert text.endswith("And so")


# -- what was lost ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "lost"),
    [
        ([delta("tool_calls"), usage(completion=1)], "announced a call and sent none"),
        ([delta("tool_calls", tool_calls=[])], "announced a call and sent none"),
        (
            [delta(content="I add."), delta("tool_calls"), usage()],
            "announced a call and sent none",
        ),
        (
            [delta(reasoning="I add."), delta("tool_calls"), usage()],
            "announced a call and sent none",
        ),
        ([delta(content=""), delta("stop"), usage(completion=30)], "nothing of 30 generated"),
        ([delta(content=" \n"), delta("stop"), usage(completion=30)], "nothing of 30 generated"),
        ([delta("stop"), usage(completion=1)], ""),
        ([delta("stop")], ""),
        ([delta("length"), usage(completion=100)], ""),
        ([delta(content="Hi."), delta("stop"), usage(completion=30)], ""),
        ([delta(reasoning="Hm."), delta("stop"), usage(completion=30)], ""),
        ([delta(tool_calls=[piece("{}")]), delta("tool_calls"), usage()], "(add)"),
    ],
)
def test_a_call_that_was_lost_is_told(events: list[dict[str, Any]], lost: str) -> None:
    _, _, end = read(*events)
    assert lost in end.lost
    assert bool(lost) == bool(end.lost)
    assert end.arguments_lost == (lost == "(add)")


def test_without_tools_no_call_is_lost() -> None:
    _, _, end = read(delta("tool_calls"), usage(completion=30), tools=())
    assert end.lost == ""


@pytest.mark.parametrize(
    ("kind", "streamed", "name", "doubted"),
    [
        ("vllm", True, "look", False),
        ("vllm", True, "add", True),
        ("sglang", True, "look", True),
        ("sglang", False, "look", False),
        ("sglang", False, "add", True),
        ("openai", True, "unknown", True),
    ],
)
def test_which_empty_arguments_are_doubted(
    kind: Kind, streamed: bool, name: str, doubted: bool
) -> None:
    calls = [piece("{}", name)]
    event = delta("tool_calls", tool_calls=calls) if streamed else message(tool_calls=calls)
    _, _, end = read(event, usage(), streamed=streamed, kind=kind)
    assert end.arguments_lost is doubted


# -- reasoning --------------------------------------------------------------------------------


def test_a_call_in_the_reasoning_is_only_read_where_nothing_else_came() -> None:
    text, thought, end = read(delta(reasoning=f"Hm. {TAGGED}"), delta("stop"), usage())
    assert (text, thought) == (TAGGED, f"Hm. {TAGGED}")
    assert any("without --reasoning-parser" in note for note in end.notes)
    text, _, end = read(delta(reasoning=TAGGED), delta(content="Hi."), delta("stop"), usage())
    assert text == "Hi."
    assert end.notes == ()


def test_a_model_that_does_not_think_has_answered_in_its_reasoning() -> None:
    events = (delta(reasoning_content="It is 3."), delta("stop"), usage())
    assert read(*events, profile=LING2)[0] == "It is 3."
    assert read(*events, profile=CHATML)[0] == ""


# -- what it cost, and notes ------------------------------------------------------------------


def test_the_cost_is_what_the_server_says() -> None:
    _, _, end = read(delta(content="Hi."), delta("stop"), usage(10, 5, 8))
    assert end.usage.prompt_tokens == 10
    assert end.usage.completion_tokens == 5
    assert end.usage.cached_tokens == 8
    assert end.usage.requests == 1
    assert end.usage.seconds == 2.0
    assert end.usage.prefill_seconds == 0.5
    assert end.usage.decode_seconds == 1.5
    assert end.notes == ()


@pytest.mark.parametrize("told", [None, {}, {"prompt_tokens": None}, {"total_tokens": 3}, 7])
def test_a_cost_that_is_not_told_is_estimated(told: object) -> None:
    _, _, end = read(delta(content="x" * 35), delta("stop"), {"usage": told})
    assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (20, 10)
    assert any("the server sends no usage" in note for note in end.notes)


@pytest.mark.parametrize(
    ("kind", "flag"),
    [
        ("vllm", "--enable-prompt-tokens-details"),
        ("sglang", "--enable-cache-report"),
        ("openai", ""),
        ("ollama", ""),
    ],
)
def test_cached_tokens_that_are_not_told(kind: Kind, flag: str) -> None:
    _, _, end = read(delta(content="Hi."), delta("stop"), usage(cached=None), kind=kind)
    assert end.usage.cached_tokens is None
    assert [flag in note for note in end.notes] == ([True] if flag else [])


def test_what_is_known_to_be_missing_is_noted_with_each_answer() -> None:
    known = facts().with_note("calls are not held to their schema")
    _, _, end = read(delta(content="Hi."), delta("stop"), usage(), known=known)
    assert end.notes == ("calls are not held to their schema",)


def test_calls_that_the_server_read_are_counted_where_it_reads_any() -> None:
    events = (delta(tool_calls=[piece('{"a": 1}')]), delta("tool_calls"), usage())
    assert read(*events)[2].read_by_server == 1
    assert read(*events, known=facts(tool_parser=False))[2].read_by_server is None


def test_content_may_come_in_parts() -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo."}, {"type": "image"}]
    assert read(message(content=parts), streamed=False)[0] == "Hello."
