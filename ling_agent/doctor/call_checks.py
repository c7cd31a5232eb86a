"""Checks that ask for calls: are they read, forced, held to their schema, the same when streamed.

A model that makes no call by itself (small ones write bare JSON) is held to one by a structural
tag: then the text is a call in Hermes tags for certain, and what the server makes of it shows
whether its parser is on.
"""

from __future__ import annotations

from typing import Any

from ..backends.remote.facts import adaptation
from ..errors import BackendRefused
from ..hermes.grammar import structural_tag
from .advice import advise, advise_parser, is_ling, is_ling_3
from .answers import Answer
from .findings import Verdict, broken, ok, unknown, warning
from .probe import Called, ServerProbe
from .questions import CALL, HELD, NAMED, OUTSIDE, copy_question, is_valid

_NOT_ASKED = "not asked: the server has no tool parser"


async def tool_parser(probe: ServerProbe) -> Verdict:
    """Whether the server reads calls from the text."""
    if not probe.facts.tool_parser:
        return broken(
            "the server was started without a tool parser; calls are read by ling_agent alone",
            advise_parser(probe.facts, probe.kind),
        )
    try:
        answer = await probe.ask(CALL)
    except BackendRefused as error:
        learned = adaptation(probe.facts, error.reason)
        if learned is None or learned.tool_parser:
            return broken(
                f"the server refuses a request with tools: {error.reason or error}",
                advise_parser(probe.facts, probe.kind),
            )
        probe.facts = learned
        return broken(
            f"the server refuses tool_choice auto ({error.reason}); calls are read by ling_agent "
            "alone",
            advise_parser(probe.facts, probe.kind),
        )
    if answer.read_by_server:
        return _read(probe, Called(CALL, False, {}, answer))
    if answer.lost:
        return broken(
            f"a call was generated and lost: {answer.lost}", advise_parser(probe.facts, probe.kind)
        )
    if answer.calls and "<tool_call>" in answer.text:
        return warning(
            f"the call came as text, and ling_agent read it: {answer.shown()}",
            advise_parser(probe.facts, probe.kind),
        )
    return await _held(probe, answer)


def _read(probe: ServerProbe, called: Called, how: str = "") -> Verdict:
    """The server has read something: is it the call that was asked for?"""
    answer = called.answer
    if not answer.calls or answer.lost:
        return broken(
            f"the server announced a call and its arguments did not arrive: "
            f"{answer.lost or answer.shown()}",
            advise_parser(probe.facts, probe.kind),
        )
    probe.called = called
    wrong = [call for call in answer.calls if not is_valid(call)]
    note = "; its arguments do not satisfy the schema" if wrong else ""
    return ok(f"the server read {answer.shown()}{how}{note}")


async def _held(probe: ServerProbe, free: Answer) -> Verdict:
    """The model made no call in tags: hold it to one, where the server can."""
    wrote = f"by itself the model wrote {free.shown()}{' without tags' if free.calls else ''}"
    more: dict[str, Any] = {}
    request = HELD
    if probe.facts.constraint == "strict":  # `required` would not pass through the parser
        request = CALL
        more = {"response_format": structural_tag(CALL.tools, at_least_one=True)}
    answer: Answer | None = None
    if probe.facts.constraint != "none":
        try:
            answer = await probe.ask(request, constrained=not more, more=more)
        except BackendRefused:
            answer = None
    if answer is not None and answer.read_by_server:
        how = f" (held to it by a structural tag; {wrote})"
        return _read(probe, Called(request, not more, more, answer), how)
    if answer is not None and answer.calls and "<tool_call>" in answer.text:
        return warning(
            "a call in Hermes tags came as text, so the server's tool parser is off or of another "
            f"format; ling_agent read it: {answer.shown()}",
            advise_parser(probe.facts, probe.kind),
        )
    if free.calls:
        return warning(
            f"the call came as text without tags, and ling_agent read it: {free.shown()}",
            f"take a larger model, or: {advise('parser', probe.kind)}",
        )
    if free.cut:
        wrote += ", cut by the token limit"
    return unknown(
        f"the model made no call, so nothing can be told of the parser: {wrote}",
        f"take a larger model; if it still makes none: {advise('parser', probe.kind)}",
    )


async def forced_call(probe: ServerProbe) -> Verdict:
    """Whether the server obeys a ``tool_choice`` that names a tool."""
    facts = probe.facts
    if not facts.tool_parser:
        return unknown(_NOT_ASKED)
    if not facts.forces_calls:
        return unknown("this kind of server does not obey tool_choice: calls are asked for only")
    try:
        answer = await probe.ask(NAMED)
    except BackendRefused as error:
        return warning(
            f"the server refuses tool_choice: {error.reason or error}", advise("forced", probe.kind)
        )
    names = {call.name for call in answer.calls}
    if names == {"get_time"} and all(map(is_valid, answer.calls)):
        return ok(f"get_time was named, and came: {answer.shown()}")
    return warning(
        f"get_time was named in tool_choice; what came is {answer.shown()}",
        advise("forced", probe.kind),
    )


async def structural_tags(probe: ServerProbe) -> Verdict:
    """Whether a call can be held to its schema: the question asks for what the schema forbids."""
    facts = probe.facts
    if facts.constraint == "none":
        if not facts.tool_parser:
            return unknown(_NOT_ASKED)
        if probe.kind in ("vllm", "sglang"):
            return warning(
                "this server cannot hold calls to their schema", advise("tag", probe.kind)
            )
        return unknown("not asked of this kind of server: calls are checked when they have arrived")
    try:
        answer = await probe.ask(OUTSIDE, constrained=True)
    except BackendRefused as error:
        return warning(
            f"the server refuses to hold calls to their schema: {error.reason or error}",
            advise("tag", probe.kind),
        )
    if answer.cut and not answer.calls:
        return unknown("the answer was cut by its token limit before the call was complete")
    if answer.calls and all(map(is_valid, answer.calls)):
        return ok(f"asked for kelvin, which the schema forbids, came {answer.shown()}")
    what = "a call against its schema" if answer.calls else "no call"
    return broken(
        f"the constraint was accepted and had no effect: {what} came: {answer.shown()}",
        advise("tag", probe.kind),
    )


async def streaming(probe: ServerProbe) -> Verdict:
    """Whether the same request brings the same in events and in one piece."""
    called = probe.called
    request = called.request if called else copy_question()

    async def ask(*, stream: bool) -> Answer:
        if called is None:
            return await probe.ask(request, stream=stream)
        return await probe.ask(
            request, stream=stream, constrained=called.constrained, more=called.more
        )

    whole = called.answer if called else await ask(stream=False)
    streamed = await ask(stream=True)
    if streamed.said == whole.said and not streamed.lost:
        return ok(f"the same {'call' if called else 'text, without a call,'} both ways")
    again = await ask(stream=False)
    if again.said != whole.said:
        return warning(
            f"the server's greedy answers differ from one time to the next: {whole.shown()} and "
            f"{again.shown()}",
            "compare again without other load; a server that batches requests may round otherwise",
        )
    came = streamed.lost or streamed.shown()
    return broken(
        f"in one piece came {whole.shown()}, streamed {came}", advise("streaming", probe.kind)
    )


async def reasoning(probe: ServerProbe) -> Verdict:
    """Whether a reasoning parser takes what is no reasoning."""
    parser = probe.info.get("reasoning_parser")
    swallowed = [answer for answer in probe.answers if answer.swallowed]
    if swallowed:
        return broken(
            f"{len(swallowed)} of {len(probe.answers)} answers came as reasoning, calls among them "
            "where there were any",
            advise("reasoning", probe.kind),
        )
    if is_ling(probe.facts) and parser and not (is_ling_3(probe.facts) and parser == "ling3"):
        return broken(
            f"the server runs with --reasoning-parser {parser}, which swallows the calls of Ling",
            advise("reasoning", probe.kind),
        )
    thinks = is_ling_3(probe.facts)
    if is_ling(probe.facts) and not thinks and any(answer.reasoning for answer in probe.answers):
        return warning(
            "the server finds reasoning in answers of Ling, which does not think by default",
            advise("reasoning", probe.kind),
        )
    return ok(f"none of {len(probe.answers)} answers was taken for reasoning")
