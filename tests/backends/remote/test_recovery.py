"""What servers do to calls, and what becomes of it in a run: no call is lost, none is made up.

Each fault was seen in or reported for vLLM or SGLang; the table of them is in docs/servers.md.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from ling_agent import RunStatus

from .hostile import delta, events, usage
from .runs import BOTH, DONE, GOOD, STREAMED, TAGGED, calls, forced, piece, run, says

pytestmark = pytest.mark.anyio

# -- arguments that do not arrive -------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("empty", ["", "{}", " {} ", "{", None])
async def test_empty_arguments_are_asked_for_once_more_in_one_piece(
    kind: str, empty: str | None
) -> None:
    ran = await run(calls(piece(empty)), GOOD, DONE, kind=kind)
    assert ran.result.output == "It is 3."
    assert ran.made == [(1, 2)], "once, and never with {}"
    first, again, last = ran.requests
    assert (first["stream"], again["stream"], last["stream"]) == (True, False, True)
    assert again["messages"] == first["messages"], "the same question"
    assert not forced(again), "the model did call: it is not forced to"
    assert "without their arguments (add)" in ran.notes


@BOTH
async def test_empty_arguments_are_never_executed_however_often_they_come(kind: str) -> None:
    ran = await run(calls(piece("{}")), kind=kind)
    assert ran.result.status is RunStatus.failed
    assert ran.made == []
    assert len(ran.requests) == 6, "each of the three messages is asked for twice"
    assert [body["stream"] for body in ran.requests] == [True, False] * 3


@BOTH
@STREAMED
async def test_a_tool_without_arguments_is_called_without(kind: str, stream: bool) -> None:
    ran = await run(calls(piece("{}", "now")), DONE, kind=kind, stream=stream)
    assert ran.made == ["now"]
    assert len(ran.requests) == 2, "nothing is missing, so nothing is asked again"


async def test_sglang_streams_empty_arguments_for_calls_that_it_cannot_read() -> None:
    """Of a tool whose arguments are all optional, too: only whole ``{}`` is believed."""
    ran = await run(calls(piece("{}", "look")), DONE, kind="sglang")
    assert [body["stream"] for body in ran.requests][:2] == [True, False]
    ran = await run(calls(piece("{}", "look")), DONE)
    assert ran.made == ["here"], "vLLM's are believed: nothing is required"
    ran = await run(calls(piece("{}", "look")), calls(piece("{}", "look")), DONE, kind="sglang")
    assert ran.made == ["here"]
    assert len(ran.requests) == 3


async def test_a_good_call_beside_an_empty_one_runs_and_the_other_is_told() -> None:
    both = calls(piece('{"a": 1, "b": 2}'), piece("{}", index=1, id="c1"))
    ran = await run(both, DONE)
    assert ran.made == [(1, 2)]
    fine, missing = ran.result.steps[0].observations
    assert fine.content == "3"
    assert missing.is_error
    assert len(ran.requests) == 2, "the first call must not be asked for again: it has run"


# -- calls that vanish ------------------------------------------------------------------------


@BOTH
@STREAMED
@pytest.mark.parametrize("announced", [True, False])
async def test_a_call_that_vanished_is_asked_for_again_with_force(
    kind: str, stream: bool, announced: bool
) -> None:
    finish = "tool_calls" if announced else "stop"
    gone = says(finish, tokens=30, content="", tool_calls=[])
    ran = await run(gone, GOOD, DONE, kind=kind, stream=stream)
    assert ran.result.output == "It is 3."
    assert ran.made == [(1, 2)]
    first, again, last = ran.requests
    assert not forced(first)
    assert forced(again)
    assert not forced(last)
    assert again["stream"] is False, "servers lose calls when they stream"
    assert again["messages"] == first["messages"]
    why = "announced a call and sent none" if announced else "sent nothing of 30 generated tokens"
    assert f"{why}: asked again" in ran.notes


async def test_a_call_that_vanishes_always_ends_the_run_with_a_result() -> None:
    ran = await run(says(tokens=30, content=""), kind="sglang")
    assert ran.result.status is RunStatus.failed
    assert ran.made == []
    assert len(ran.requests) == 6


async def test_an_answer_that_is_really_empty_is_not_a_lost_call() -> None:
    ran = await run(says(tokens=1, content=""), DONE)
    assert ran.result.output == "It is 3."
    assert not any(forced(body) for body in ran.requests)


# -- calls that come in another place ---------------------------------------------------------


@BOTH
@STREAMED
async def test_a_leaked_call_is_read_from_the_text(kind: str, stream: bool) -> None:
    ran = await run(says(content=f"Let me see.\n{TAGGED}"), DONE, kind=kind, stream=stream)
    assert ran.made == [(1, 2)]
    assert ran.first.content == "Let me see."
    assert "calls as text; they were read by the client" in ran.notes


@BOTH
async def test_a_second_call_that_leaks_is_read_beside_the_first(kind: str) -> None:
    text = TAGGED.replace("2", "5")
    leaks = says("tool_calls", content=text, tool_calls=[piece('{"a": 1, "b": 2}')])
    ran = await run(leaks, DONE, kind=kind)
    assert sorted(map(str, ran.made)) == ["(1, 2)", "(1, 5)"]
    assert "they were read by the client" in ran.notes


@BOTH
@STREAMED
@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_reasoning_is_one_thing_under_two_names(kind: str, stream: bool, field: str) -> None:
    fields: dict[str, Any] = {field: "Numbers.", "content": "It is 3."}
    ran = await run(says(**fields), kind=kind, stream=stream)
    assert ran.result.output == "It is 3."
    assert ran.first.reasoning == "Numbers."


@BOTH
@STREAMED
@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_a_call_that_was_taken_for_reasoning_is_read_from_there(
    kind: str, stream: bool, field: str
) -> None:
    fields: dict[str, Any] = {field: f"I add.\n{TAGGED}", "content": None}
    ran = await run(says(**fields), DONE, kind=kind, stream=stream)
    assert ran.made == [(1, 2)]
    assert "without --reasoning-parser" in ran.notes
    assert len(ran.requests) == 2


async def test_a_call_that_is_only_thought_about_is_not_made() -> None:
    thinks = says(reasoning=f"I could write {TAGGED}", content="It is 3.")
    ran = await run(thinks)
    assert (ran.result.output, ran.made) == ("It is 3.", [])


# -- calls in pieces --------------------------------------------------------------------------

HALVES = ('{"a": 1,', ' "b": 2}')
PARALLEL: dict[str, list[list[dict[str, Any]]]] = {
    "as they should be": [
        [piece('{"a": 1, "b": 2}')],
        [piece('{"a": 3, "b": 4}', index=1, id="c1")],
    ],
    "with one index": [[piece('{"a": 1, "b": 2}')], [piece('{"a": 3, "b": 4}', id="c1")]],
    "with one index and no ids": [
        [piece('{"a": 1, "b": 2}', id=None)],
        [piece('{"a": 3, "b": 4}', id=None)],
    ],
    "with no indexes": [
        [piece('{"a": 1, "b": 2}', index=None)],
        [piece('{"a": 3, "b": 4}', index=None, id="c1")],
    ],
    "with repeated ids": [[piece('{"a": 1, "b": 2}')], [piece('{"a": 3, "b": 4}', index=1)]],
    "with null ids behind the first piece": [
        [piece(HALVES[0])],
        [piece(HALVES[1], None, id=None)],
        [piece('{"a": 3,', index=1, id="c1")],
        [piece(' "b": 4}', None, index=1, id=None)],
    ],
    "with the id and the name in each piece": [
        [piece(HALVES[0])],
        [piece(HALVES[1])],
        [piece('{"a": 3,', index=1, id="c1")],
        [piece(' "b": 4}', index=1, id="c1")],
    ],
    "interleaved": [
        [piece("")],
        [piece("", index=1, id="c1")],
        [piece('{"a": 3,', None, index=1, id=None), piece(HALVES[0], None, id=None)],
        [piece(HALVES[1], None, id=None)],
        [piece(' "b": 4}', None, index=1, id=None)],
    ],
    "both in one delta": [[piece('{"a": 1, "b": 2}'), piece('{"a": 3, "b": 4}', index=1, id="c1")]],
    "with arguments as an object": [
        [piece({"a": 1, "b": 2})],
        [piece({"a": 3, "b": 4}, index=1, id="c1")],
    ],
}


@BOTH
@pytest.mark.parametrize("how", PARALLEL)
async def test_parallel_calls_are_told_apart(kind: str, how: str) -> None:
    pieces = [delta(tool_calls=each) for each in PARALLEL[how]]
    ran = await run(events(*pieces, delta("tool_calls"), usage()), DONE, kind=kind)
    assert sorted(map(str, ran.made)) == ["(1, 2)", "(3, 4)"]
    assert [call.id for call in ran.first.calls] == ["call_1_0", "call_1_1"], "the ids are ours"
    told = ran.requests[1]["messages"][-2:]
    assert [(each["tool_call_id"], each["content"]) for each in told] == [
        ("call_1_0", "3"),
        ("call_1_1", "7"),
    ]


@BOTH
async def test_a_lost_last_brace_is_put_back(kind: str) -> None:
    ran = await run(calls(piece('{"a": 1, "b": 2')), DONE, kind=kind)
    assert ran.made == [(1, 2)]
    assert ran.first.calls[0].repairs, "what was repaired is named"


# -- calls that are cut -----------------------------------------------------------------------

CUT = ('{"a": 1, "b": 2', '{"a": 1, "b": 2}', '{"a": 1')


@BOTH
@STREAMED
@pytest.mark.parametrize(
    ("finish", "arguments"),
    [
        *itertools.product(("length", "tool_calls"), (*CUT, "{}", "")),
        *itertools.product(("stop",), CUT),
    ],
)
async def test_a_call_that_the_token_limit_cut_never_runs(
    kind: str, stream: bool, finish: str, arguments: str
) -> None:
    """Also when the server calls it by another name: the count of tokens tells."""
    cut = says(finish, tokens=100, tool_calls=[piece(arguments)])
    ran = await run(cut, DONE, kind=kind, stream=stream)
    assert ran.made == []
    assert ran.first.calls == ()
    assert ran.result.output == "It is 3."
    assert len(ran.requests) == 2


@BOTH
async def test_of_several_calls_only_the_cut_one_does_not_run(kind: str) -> None:
    cut = says(
        "tool_calls",
        tokens=100,
        tool_calls=[piece('{"a": 1, "b": 2}'), piece('{"a": 3, "b"', index=1, id="c1")],
    )
    ran = await run(cut, DONE, kind=kind)
    assert ran.made == [(1, 2)]
    assert [observation.is_error for observation in ran.result.steps[0].observations] == [
        False,
        True,
    ]


async def test_a_leaked_call_that_was_cut_never_runs() -> None:
    ran = await run(says("length", tokens=100, content=TAGGED[:-14]), DONE)
    assert ran.made == []


# -- calls that are only talked about ---------------------------------------------------------


@BOTH
@STREAMED
async def test_talk_about_a_call_is_asked_again_once_with_force(kind: str, stream: bool) -> None:
    talk = says(content="I will use add to find out.")
    ran = await run(talk, GOOD, DONE, kind=kind, stream=stream)
    assert (ran.result.output, ran.made) == ("It is 3.", [(1, 2)])
    assert [forced(body) for body in ran.requests] == [False, True, False]
    assert "only talked about a call of add: asked again" in ran.notes
    assert ran.requests[1]["messages"] == ran.requests[0]["messages"], "the talk is not kept"


async def test_a_second_talk_is_the_answer() -> None:
    ran = await run(says(content="I will use add."), says(content="Calling add now."))
    assert ran.result.output == "I will use add."
    assert ran.result.status is RunStatus.completed
    assert len(ran.requests) == 2


async def test_a_message_that_was_cut_is_not_talk() -> None:
    ran = await run(says("length", content="I will use add"))
    assert ran.result.status is RunStatus.max_tokens
    assert len(ran.requests) == 1
