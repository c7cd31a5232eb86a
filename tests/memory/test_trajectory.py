"""The append-only log: messages, search, JSON lines."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ling_agent import ConfigurationError, StoreError, Trajectory
from ling_agent.memory.trajectory import EntryKind, call_order, started, unanswered
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
    st.sampled_from([kind for kind in get_args(EntryKind) if kind != "withdrawal"]),
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
    assert trajectory.tokens == 0
    trajectory.append("usage", prompt_tokens=7, completion_tokens=3)
    trajectory.append("usage", prompt_tokens=20, completion_tokens=5)
    trajectory.append("observation", ToolMessage("i", "n", "new"))
    assert trajectory.tokens == 25


def test_a_fork_goes_on_for_itself() -> None:
    trajectory = made(UserMessage("a"))
    fork = trajectory.fork()
    fork.append("note", UserMessage("b"))
    assert (len(trajectory), len(fork)) == (1, 2)
    assert fork[0] is trajectory[0]


def test_search_finds_words_the_best_entry_first() -> None:
    trajectory = made(
        UserMessage("Find the cheapest RTX 4090."),
        AssistantMessage("I look for offers.", calls=(ToolCall("i", "search", {"gpu": "oslo"}),)),
        ToolMessage("i", "search", "The cheapest is in Oslo."),
    )
    trajectory.append("plan", text="look in Bergen")
    trajectory.append("pin", text="The budget is 900 euros.")
    assert trajectory.search("oslo cheapest")[0].id == 2
    assert [entry.id for entry in trajectory.search("OSLO")] == [2], "calls are not searched"
    assert [entry.id for entry in trajectory.search("offered")] == [1], "by their stem"
    assert [entry.id for entry in trajectory.search("euro budgets")] == [4]
    assert trajectory.search("nowhere") == []
    assert trajectory.search("") == []
    assert len(trajectory.search("cheapest", limit=1)) == 1


def test_search_sees_what_was_appended_since_the_last() -> None:
    trajectory = made(UserMessage("apples"))
    assert trajectory.search("pears") == []
    trajectory.append("observation", ToolMessage("i", "f", "pears"), step=2)
    assert [hit.entry for hit in trajectory.hits("pears")] == [1]


def test_a_newer_version_is_refused() -> None:
    text = json.dumps({"format": "ling_agent.trajectory", "version": 3}) + "\n"
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


def run(*steps: int) -> Trajectory:
    """A task with so many calls in each step, all answered."""
    trajectory = Trajectory()
    trajectory.append("instructions", SystemMessage("S"))
    trajectory.append("task", UserMessage("t"), task="t")
    for number, count in enumerate(steps, start=1):
        calls = tuple(ToolCall(f"call_{number}_{n}", "f", {}) for n in range(count))
        trajectory.append("assistant", AssistantMessage(str(number), calls=calls), step=number)
        trajectory.append("usage", step=number, prompt_tokens=number, completion_tokens=0)
        for call in reversed(calls):
            trajectory.append("call", step=number, call_id=call.id)
            trajectory.append("observation", ToolMessage(call.id, "f", call.id), step=number)
    return trajectory


def test_a_checkpoint_is_a_number_of_entries() -> None:
    trajectory = run(1, 2, 0)
    assert [trajectory.checkpoint(step) for step in range(4)] == [2, 6, 12, 14]
    for step in range(1, 4):
        fork = trajectory.fork(trajectory.checkpoint(step))
        assert fork.last_step == step
        assert unanswered(fork) == {}
        assert fork.tokens == step
        assert all(one is other for one, other in zip(fork, trajectory, strict=False))
    assert trajectory.fork(trajectory.checkpoint(0)).messages() == [
        SystemMessage("S"),
        UserMessage("t"),
    ]
    for step in (-1, 4):
        with pytest.raises(ConfigurationError, match=f"no step {step}: the newest is 3"):
            trajectory.checkpoint(step)


def test_a_checkpoint_of_a_step_of_which_nothing_is_kept() -> None:
    trajectory = run(1)
    trajectory.append("assistant", AssistantMessage("x"), step=3)
    assert trajectory.checkpoint(2) == trajectory.checkpoint(1)
    assert Trajectory().checkpoint(0) == 0


def test_entries_of_another_log_are_the_next_ones() -> None:
    source, copy = run(1), Trajectory()
    for entry in source:
        copy.extend(entry)
    assert list(copy) == list(source)
    assert copy.messages() == source.messages()
    with pytest.raises(ConfigurationError, match="entry 6 is missing"):
        copy.extend(source[0])
    with pytest.raises(ConfigurationError, match="entry 0 is missing"):
        Trajectory([source[1]])


def test_observations_are_in_the_order_of_their_calls() -> None:
    trajectory = run(3, 2)
    order = [m.call_id for m in trajectory.messages() if isinstance(m, ToolMessage)]
    assert order == ["call_1_0", "call_1_1", "call_1_2", "call_2_0", "call_2_1"]


def test_the_order_of_ids() -> None:
    foreign = tuple(ToolCall(id_, "f", {}) for id_ in ("call_9", "abc", "call_abc_1", "toolu_2"))
    order = call_order(AssistantMessage("", calls=foreign))
    assert sorted(["toolu_2", "call_abc_1", "abc", "call_9"], key=order) == [
        call.id for call in foreign
    ]
    assert order("unknown") == 4
    ours = call_order(None)
    assert sorted(["call_1_10", "call_1_9", "call_1_0"], key=ours) == [
        "call_1_0",
        "call_1_9",
        "call_1_10",
    ]


def test_calls_that_have_begun() -> None:
    trajectory = run(1)
    calls = tuple(ToolCall(f"call_2_{n}", "f", {}) for n in range(3))
    trajectory.append("assistant", AssistantMessage("", calls=calls), step=2)
    assert started(trajectory) == set()
    trajectory.append("call", step=2, call_id="call_2_0")
    trajectory.append("call", step=2, call_id="call_2_1")
    trajectory.append("call", step=2, call_id="call_2_1", begun=False)
    assert started(trajectory) == {"call_2_0"}
    trajectory.append("call", step=2, call_id="call_2_1")
    assert started(trajectory) == {"call_2_0", "call_2_1"}
    trajectory.append("assistant", AssistantMessage("next"), step=3)
    assert started(trajectory) == set(), "of the newest message"


def test_what_is_withdrawn_is_no_part_of_the_conversation() -> None:
    trajectory = run(1)
    before = (
        trajectory.messages(),
        trajectory.task,
        trajectory.last_message,
        trajectory.tokens,
        trajectory.newest_task(),
    )
    for _ in range(2):  # the second one must not find what the first one took out
        since = len(trajectory)
        trajectory.append("task", UserMessage("more"), task="more")
        trajectory.append("plan", text="p", steps=[], revision=0)
        trajectory.append("usage", prompt_tokens=99, completion_tokens=9)
        assert trajectory.tokens == 108
        trajectory.append("withdrawal", since=since)
        for log in (trajectory, Trajectory.from_jsonl(trajectory.to_jsonl())):
            assert before == (
                log.messages(),
                log.task,
                log.last_message,
                log.tokens,
                log.newest_task(),
            )
    assert len(trajectory) == 6 + 8, "it stays in the log"


def test_answers_that_are_withdrawn_are_missing_again() -> None:
    trajectory = Trajectory()
    trajectory.append("task", UserMessage("t"), task="t")
    calls = tuple(ToolCall(f"call_1_{n}", "f", {}) for n in range(2))
    trajectory.append("assistant", AssistantMessage("", calls=calls), step=1)
    trajectory.append("call", step=1, call_id="call_1_1")
    since = len(trajectory)
    for call in calls:
        trajectory.append("observation", ToolMessage(call.id, "f", "left"), step=1)
    trajectory.append("withdrawal", since=since)
    assert list(unanswered(trajectory)) == ["call_1_0", "call_1_1"]
    assert started(trajectory) == {"call_1_1"}


def test_a_pin_is_a_text_or_an_entry() -> None:
    trajectory = run(1)
    assert trajectory.pin("keep").data == {"text": "keep"}
    pinned = trajectory.pin(trajectory[2], step=1)
    assert (pinned.data, pinned.step, pinned.message) == ({"entry": 2}, 1, None)
