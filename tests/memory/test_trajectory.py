"""The append-only log: messages, search, JSON lines."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ling_agent import StoreError, Trajectory
from ling_agent.memory.trajectory import EntryKind, unanswered
from ling_agent.messages import (
    AssistantMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)

# With lone surrogates, first halves only: JSON reads both halves in a row as the one character.
LONE = st.characters(min_codepoint=0xD800, max_codepoint=0xDBFF, categories=["Cs"])
TEXT = st.text(max_size=30) | st.text(LONE | st.characters(categories=["Ll"]), max_size=3)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
CALLS = st.builds(
    ToolCall, TEXT, TEXT, st.dictionaries(TEXT, JSON, max_size=3), st.tuples() | st.tuples(TEXT)
)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(SystemMessage, TEXT),
    st.builds(UserMessage, TEXT),
    st.builds(ToolMessage, TEXT, TEXT, TEXT, st.booleans()),
    st.builds(
        AssistantMessage,
        TEXT,
        st.none() | TEXT,
        st.lists(CALLS, max_size=2).map(tuple),
        st.none() | TEXT,
    ),
)
ENTRIES = st.tuples(
    st.sampled_from(get_args(EntryKind)),
    st.none() | MESSAGES,
    st.integers(0, 9),
    st.none() | st.integers(0, 9),
    st.dictionaries(st.sampled_from(["text", "steps", "status"]), JSON, max_size=3),
)


def made(*messages: Message) -> Trajectory:
    trajectory = Trajectory()
    for message in messages:
        kind = "assistant" if isinstance(message, AssistantMessage) else "observation"
        trajectory.append(kind, message, step=1)
    return trajectory


@given(st.lists(ENTRIES, max_size=6))
def test_json_lines_are_lossless(entries: list[tuple[Any, ...]]) -> None:
    trajectory = Trajectory()
    for kind, message, step, tokens, data in entries:
        trajectory.append(kind, message, step=step, tokens=tokens, **data)
    text = trajectory.to_jsonl()
    again = Trajectory.from_jsonl(text)
    assert list(again) == list(trajectory)
    assert again.to_jsonl() == text
    assert len(text.rstrip("\n").split("\n")) == len(entries) + 1
    assert text.encode().decode() == text, "a file takes it"


def test_entries_are_numbered_and_linked() -> None:
    trajectory = made(UserMessage("a"), AssistantMessage("b"), UserMessage("c"))
    assert [(entry.id, entry.parent) for entry in trajectory] == [(0, None), (1, 0), (2, 1)]
    assert len(trajectory) == 3
    assert trajectory[1].text == "b"
    assert trajectory[-1].time >= trajectory[0].time


def test_messages_leave_out_what_the_model_does_not_see() -> None:
    trajectory = made(UserMessage("a"))
    trajectory.append("usage", prompt_tokens=7, completion_tokens=3)
    trajectory.append("limit", status="max_steps")
    assert trajectory.messages() == [UserMessage("a")]


def test_tokens_are_those_of_the_newest_answer() -> None:
    trajectory = made(UserMessage("a"))
    assert (trajectory.tokens, len(trajectory.since_usage())) == (0, 1)
    trajectory.append("usage", prompt_tokens=7, completion_tokens=3)
    trajectory.append("usage", prompt_tokens=20, completion_tokens=5)
    trajectory.append("observation", ToolMessage("i", "n", "new"))
    assert trajectory.tokens == 25
    assert [entry.text for entry in trajectory.since_usage()] == ["new"]


def test_a_fork_goes_on_for_itself() -> None:
    trajectory = made(UserMessage("a"))
    fork = trajectory.fork()
    fork.append("note", UserMessage("b"))
    assert (len(trajectory), len(fork)) == (1, 2)
    assert fork[0] is trajectory[0]


def test_search_finds_words_in_messages_calls_and_data() -> None:
    trajectory = made(
        UserMessage("Find the cheapest RTX 4090."),
        AssistantMessage("", calls=(ToolCall("i", "search", {"gpu": "RTX 4090"}),)),
        ToolMessage("i", "search", "The cheapest is in Oslo."),
    )
    trajectory.append("plan", text="look in Bergen")
    found = trajectory.search("cheapest 4090")
    assert [entry.id for entry in found] == [0, 1, 2], "most words first, then the oldest"
    assert [entry.id for entry in trajectory.search("bergen")] == [3]
    assert trajectory.search("OSLO")[0].id == 2
    assert trajectory.search("nowhere") == []
    assert trajectory.search("") == []
    assert len(trajectory.search("cheapest", limit=1)) == 1


def test_a_newer_version_is_refused() -> None:
    text = json.dumps({"format": "ling_agent.trajectory", "version": 2}) + "\n"
    with pytest.raises(StoreError, match="newer version"):
        Trajectory.from_jsonl(text)


@pytest.mark.parametrize("text", ["", "[]", "{}", "not JSON", '{"format": "other"}'])
def test_what_is_no_trajectory_is_refused(text: str) -> None:
    with pytest.raises(StoreError, match="not a trajectory"):
        Trajectory.from_jsonl(text)


@pytest.mark.parametrize("line", ["{", "5", "[]", "null", "{}", '{"id": 0, "extra": 1}'])
def test_a_damaged_line_is_named(line: str) -> None:
    text = Trajectory().to_jsonl() + line + "\n"
    with pytest.raises(StoreError, match="line 2 is damaged"):
        Trajectory.from_jsonl(text)


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_line_that_is_missing_or_out_of_place_is_named(lost: int) -> None:
    lines = made(*(UserMessage(text) for text in "abcd")).to_jsonl().split("\n")
    swapped = [*lines[:lost], lines[lost + 1], lines[lost], *lines[lost + 2 :]]
    for damaged in (lines[:lost] + lines[lost + 1 :], swapped):
        with pytest.raises(StoreError, match=f"line {lost + 1} is damaged: entry {lost - 1}"):
            Trajectory.from_jsonl("\n".join(damaged))


def test_a_kind_that_there_is_not_is_refused() -> None:
    text = made(UserMessage("a")).to_jsonl().replace('"observation"', '"opinion"')
    with pytest.raises(StoreError, match="no kind of entry: 'opinion'"):
        Trajectory.from_jsonl(text)


def test_unanswered_calls_are_those_of_the_newest_message() -> None:
    first = ToolCall("call_1_0", "f", {})
    second = ToolCall("call_1_2", "g", {})
    trajectory = Trajectory()
    assert unanswered(trajectory) == {}
    failure: dict[str, Any] = {"index": 1, "kind": "invalid_json", "raw": "{", "message": "no"}
    trajectory.append(
        "assistant", AssistantMessage("", calls=(first, second)), step=1, failures=[failure]
    )
    assert list(unanswered(trajectory)) == ["call_1_0", "call_1_1", "call_1_2"]
    trajectory.append("observation", ToolMessage("call_1_0", "f", "x"), step=1)
    again = Trajectory.from_jsonl(trajectory.to_jsonl())
    assert list(unanswered(again)) == ["call_1_1", "call_1_2"]
    trajectory.append("assistant", AssistantMessage("done"), step=2)
    assert unanswered(trajectory) == {}
