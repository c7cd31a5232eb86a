"""What a run asks for when things go wrong: without what was refused, valid, each counted once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from ling_agent import Limits, RunStatus

from .hostile import Exchange, Handler, answer, delta, events, text_reply, usage
from .runs import BOTH, DONE, GOOD, TAGGED, calls, piece, run, says

pytestmark = pytest.mark.anyio

# -- what the server refuses ------------------------------------------------------------------


def refuses(field: str, reason: str, then: Sequence[Handler]) -> Handler:
    """A handler that answers 400 to requests with this field, and the others one by one."""
    left = list(then)

    async def handler(exchange: Exchange) -> None:
        if field in exchange.body.decode():
            await exchange.respond({"error": {"message": reason}}, status=400)
        else:
            await left.pop(0)(exchange)

    return handler


async def test_without_a_tool_parser_calls_are_read_here_and_a_note_names_the_flag() -> None:
    reason = (
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
    )
    server = refuses('"tool_choice":"auto"', reason, [says(content=TAGGED), DONE])
    ran = await run(server)
    assert (ran.result.output, ran.made) == ("It is 3.", [(1, 2)])
    assert "start it with --enable-auto-tool-choice --tool-call-parser hermes" in ran.notes
    refused, first, second = ran.requests
    assert refused["tool_choice"] == "auto"
    assert first["tools"] == second["tools"] == refused["tools"], "the model still sees them"
    assert first["skip_special_tokens"] is False, "the tags of a call may be special tokens"
    assert "read by the client" in ran.notes
    assert "returned calls as text" not in ran.notes, "that is what is expected now"


@pytest.mark.parametrize(
    ("kind", "field"), [("vllm", "structured_outputs"), ("sglang", '"strict":true')]
)
async def test_a_constraint_that_is_refused_is_left_out(kind: str, field: str) -> None:
    reason = "The provided structural tag has features not supported by xgrammar."
    ran = await run(refuses(field, reason, [GOOD, DONE]), kind=kind)
    assert (ran.result.output, ran.made) == ("It is 3.", [(1, 2)])
    assert "calls are not held to their schema" in ran.notes
    assert "not supported by xgrammar" in ran.notes, "the server's reason"
    assert len(ran.requests) == 3, "learned once"


async def test_a_refusal_that_nothing_can_be_done_about_is_the_servers_own_words() -> None:
    ran = await run(GOOD, answer({"error": {"message": "temperature must be kind"}}, status=400))
    assert ran.result.status is RunStatus.failed
    assert "temperature must be kind" in str(ran.result.error)
    assert ran.made == [(1, 2)]


# -- the history, the rest of the request, and what it costs ----------------------------------


def assert_history_is_valid(requests: list[Any]) -> None:
    """What llama-server, SGLang and the hosted APIs refuse: for ever, since the history stays."""
    for body in requests:
        known: set[str] = set()
        for said in body["messages"]:
            for call in said.get("tool_calls", ()):
                assert isinstance(json.loads(call["function"]["arguments"]), dict)
                known.add(call["id"])
            if said["role"] == "tool":
                assert said["tool_call_id"] in known


@BOTH
@pytest.mark.parametrize("arguments", ['{"a": 1, "b": }', "[1, 2]", '"x"', "{'a': 1 'b'}", "none"])
async def test_invalid_arguments_are_never_sent_back(kind: str, arguments: str) -> None:
    ran = await run(calls(piece(arguments)), GOOD, DONE, kind=kind)
    assert ran.result.output == "It is 3."
    assert ran.made == [(1, 2)]
    assert_history_is_valid(ran.requests)
    told = ran.requests[1]["messages"][-1]
    assert told["role"] == "user"
    assert told["content"].startswith("Error: "), "the model is told why nothing happened"


async def test_an_unreadable_call_beside_a_good_one_is_told_behind_its_result() -> None:
    both = calls(piece('{"a": 1, "b": }'), piece('{"a": 1, "b": 2}', index=1, id="c1"))
    ran = await run(both, DONE)
    assert ran.made == [(1, 2)]
    assert_history_is_valid(ran.requests)
    roles = [said["role"] for said in ran.requests[1]["messages"]]
    assert roles == ["user", "assistant", "tool", "user"]


@BOTH
async def test_no_request_has_both_tools_and_a_response_format(kind: str) -> None:
    gone = says(tokens=30, content="")
    limits = Limits(max_tool_calls=2)
    ran = await run(gone, GOOD, calls(piece("{}")), GOOD, DONE, kind=kind, limits=limits)
    assert ran.result.ok
    assert all("tools" in body for body in ran.requests)
    assert not any("response_format" in body for body in ran.requests)


@pytest.mark.parametrize("told", [None, {}])
async def test_usage_that_is_missing_is_estimated_and_noted(told: object) -> None:
    each: list[object] = [delta(content="It is 3."), delta("stop")]
    if told is not None:
        each.append({"choices": [], "usage": told})
    ran = await run(events(*each))
    assert ran.result.output == "It is 3."
    assert "the server sends no usage: tokens are estimated" in ran.notes
    assert ran.result.usage.prompt_tokens > 0
    assert ran.result.usage.completion_tokens > 0


@pytest.mark.parametrize(
    ("kind", "flag"),
    [("vllm", "--enable-prompt-tokens-details"), ("sglang", "--enable-cache-report")],
)
async def test_cached_tokens_that_are_not_told_are_unknown_and_not_0(kind: str, flag: str) -> None:
    ran = await run(events(delta(content="Hi."), delta("stop"), usage(cached=None)), kind=kind)
    assert ran.result.usage.cached_tokens is None
    assert flag in ran.notes


TALK = says(content="I will use add.", tokens=7)


@pytest.mark.parametrize(
    ("handlers", "requests"),
    [
        ((GOOD, DONE), 2),
        ((calls(piece("{}")), GOOD, DONE), 3),
        ((says(tokens=30, content=""), GOOD, DONE), 3),
        ((TALK, GOOD, DONE), 3),
        ((TALK, TALK), 2),
        ((says(tokens=30, content=""), says(content="Sorry.")), 2),
    ],
    ids=["plain", "empty arguments", "vanished", "talk", "talk twice", "vanished, then words"],
)
async def test_every_request_is_counted_once(handlers: Sequence[Handler], requests: int) -> None:
    ran = await run(*handlers)
    spent = ran.result.usage
    assert len(ran.requests) == spent.requests == requests
    assert spent.prompt_tokens == 10 * requests
    entries = [entry.data for entry in ran.result.trajectory if entry.kind == "usage"]
    assert sum(each["prompt_tokens"] for each in entries) == spent.prompt_tokens
    assert sum(each["completion_tokens"] for each in entries) == spent.completion_tokens
    by_step = [step.usage for step in ran.result.steps]
    assert sum(each.requests for each in by_step) == requests
    assert sum(each.completion_tokens for each in by_step) == spent.completion_tokens
    newest = entries[-1]
    assert ran.result.trajectory.tokens == newest["prompt_tokens"] + newest["completion_tokens"] > 0


async def test_a_limit_of_tokens_is_kept_by_the_second_request_too() -> None:
    talk = events(delta(content="I will use add."), delta("stop"), usage(prompt=300))
    ran = await run(talk, GOOD, limits=Limits(max_total_tokens=550))
    assert ran.result.output == "I will use add."
    assert ran.result.usage.requests == len(ran.requests) == 1
    assert ran.result.trajectory.tokens == ran.result.usage.total_tokens
    assert [entry.kind for entry in ran.result.trajectory].count("usage") == 1


async def test_unconstrained_calls_are_corrected_as_well() -> None:
    ran = await run(calls(piece("{}")), says(content=""), text_reply("So."), constrain=False)
    assert ran.result.output == "So."
    assert not any("structured_outputs" in body for body in ran.requests)
