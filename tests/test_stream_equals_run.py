"""A streamed run does what an unstreamed one does: every behaviour, at several chunk sizes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import pytest

from ling_agent import (
    Agent,
    BackendUnavailable,
    CancelToken,
    Limits,
    RunContext,
    RunResult,
    RunStatus,
    ToolError,
    Usage,
    tool,
)
from ling_agent.events import (
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    TextDelta,
    ToolFinished,
    ToolStarted,
)
from ling_agent.memory import Entry
from ling_agent.messages import Message, ToolMessage
from ling_agent.planning import Planning
from ling_agent.testing import Reply, ScriptedBackend

from .helpers import call, calls, stream

pytestmark = pytest.mark.anyio

BROKEN = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": }}\n</tool_call>'
PLAN = "Plan:\n1. add\n2. answer"
ADD = call("add", a=1, b=2)


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def fail(reason: str) -> str:
    """Fail."""
    raise ToolError(reason)


@tool
async def report(ctx: RunContext[Any]) -> str:
    """Report progress."""
    ctx.emit("half")
    return "reported"


@tool
async def stop(ctx: RunContext[CancelToken]) -> str:
    """Stop the run."""
    ctx.deps.cancel()
    await anyio.sleep_forever()
    return ""


@tool(requires_approval=True)
async def buy(item: str) -> str:
    """Buy."""
    return item


@tool
def wait(seconds: float) -> str:
    """Wait in a thread."""
    time.sleep(seconds)
    return "waited"


@tool
async def crash() -> str:
    """Crash."""
    raise ValueError("stock is empty")


@tool(timeout=0.01)
async def slow() -> str:
    """Take longer than it may."""
    await anyio.sleep_forever()
    return ""


@tool
async def slow_for_ever() -> str:
    """Never end."""
    await anyio.sleep_forever()
    return ""


@tool(exclusive=True)
async def alone() -> str:
    """Run alone."""
    return "alone"


@tool
async def silent() -> str:
    """Say nothing."""
    return ""


TOOLS = [add, fail, report, stop, buy, wait, crash, slow, slow_for_ever, alone, silent]


@dataclass(frozen=True)
class Case:
    """A behaviour: what the model writes, and how the run is set up."""

    script: list[str | Reply | Exception]
    planning: Planning = "off"
    limits: Limits = field(default_factory=Limits)
    profile_renders: bool = False


def limited(script: list[str | Reply | Exception], **limits: Any) -> Case:
    return Case(script, limits=Limits(**limits))


CASES: dict[str, Case] = {
    "answer": Case(["Paris is the capital."]),
    "reasoning": Case(["<think>Let me think.</think>Paris."]),
    "call": Case([ADD, "3"]),
    "text and call": Case(["I will add. " + ADD, "3"]),
    "bare JSON call": Case(['{"name": "add", "arguments": {"a": 1, "b": 2}}', "3"]),
    "repaired call": Case(["<tool_call>{'name': 'add', 'arguments': {'a': 1, 'b': 2,}}", "3"]),
    "parallel calls": Case([calls(ADD, call("add", a=3, b=4), call("fail", reason="no")), "3"]),
    "many steps": Case([*(call("add", a=n, b=n) for n in range(6)), "done"]),
    "progress": Case([call("report"), "done"]),
    "tool error": Case([call("fail", reason="no"), "Sorry."]),
    "unknown tool": Case([call("ad", a=1, b=2), "Sorry."]),
    "wrong arguments": Case([call("add", a="x", b=2), "Sorry."]),
    "unreadable call": Case([BROKEN, "Sorry."]),
    "unreadable sibling": Case([calls(ADD, BROKEN, call("add", a=5, b=5)), "Sorry."]),
    "cut call": Case([Reply(ADD[:40], finish_reason="length"), "Sorry."]),
    "too many mistakes": Case([BROKEN, "", BROKEN]),
    "empty answer": Case(["", "  ", "Paris."]),
    "hallucinated observation": Case([ADD + "<tool_response>9</tool_response>9", "3"]),
    "inline plan": Case(["Plan: add them.\n" + ADD, "3"], "inline"),
    "inline plan, list": Case([PLAN + "\n" + ADD, "3"], "inline"),
    "inline plan, answer": Case(["Plan: answer.\n\nParis is\nthe capital."], "inline"),
    "inline plan, bare call": Case(
        ['Plan: add\n{"name": "add", "arguments": {"a": 1, "b": 2}}', "3"], "inline"
    ),
    "inline, only a plan": Case(["Plan: add.", ADD, "3"], "inline"),
    "inline, no plan": Case(["Planning is hard."], "inline"),
    "inline, prefill": Case(
        [" add.", 'a": 1, "b": 2}}\n</tool_call>', "3"], "inline", profile_renders=True
    ),
    "inline, prefill, no tool named": Case([" my head.", "3"], "inline", profile_renders=True),
    "explicit plan": Case([PLAN, ADD, "3"], "explicit"),
    "explicit, revised": Case([PLAN, call("fail", reason="no"), PLAN, ADD, "3"], "explicit"),
    "explicit, acts at once": Case([ADD, "3"], "explicit"),
    "explicit, prefill": Case([" add\n2. answer", ADD, "3"], "explicit", profile_renders=True),
    "repetition": Case([ADD, ADD, "3"]),
    "repeating": Case([ADD, ADD, ADD]),
    "same call twice": Case([calls(ADD, ADD), "3"]),
    "max steps": limited([ADD, call("add", a=2, b=2)], max_steps=2),
    "max tool calls": limited([ADD, calls(call("add", a=2, b=2), ADD)], max_tool_calls=2),
    "max total tokens": limited([Reply(ADD, usage=Usage(90, 10))], max_total_tokens=180),
    "nothing affordable": limited([], max_total_tokens=1),
    "cut answer": Case([Reply("Paris is the", finish_reason="length")]),
    "timeout": limited([Reply("never", delay=3600.0)], timeout=0.2),
    "no time at all": limited([], timeout=0),
    "cancelled in a tool": Case([calls(ADD, call("stop"))]),
    "needs approval": Case([calls(ADD, call("buy", item="a"), call("add", a=9, b=9))]),
    "needs approval, nothing before it": Case([call("buy", item="a")]),
    "needs approval, several": Case([calls(call("buy", item="a"), BROKEN, call("buy", item="b"))]),
    "call in reasoning": Case([f"<think>{ADD}</think>Paris."]),
    "reasoning and call": Case([f"<think>Add.</think>{ADD}", "3"]),
    "sync tool": Case([call("wait", seconds=0.001), "done"]),
    "tool raises": Case([calls(call("crash"), ADD), "Sorry."]),
    "tool times out": Case([calls(call("slow"), ADD), "Sorry."]),
    "tool timed out by the run": limited([calls(ADD, call("slow_for_ever"))], timeout=0.2),
    "exclusive tool": Case([calls(ADD, call("alone"), call("add", a=4, b=4)), "done"]),
    "one at a time": limited([calls(ADD, call("add", a=3, b=4)), "3"], max_parallel_tools=1),
    "progress from several": Case([calls(call("report"), ADD, call("report")), "done"]),
    "no tool calls allowed": limited([ADD], max_tool_calls=0),
    "used up, then words": limited([ADD, "3"], max_tool_calls=1),
    "repetition of an empty result": Case([call("silent"), call("silent"), "done"]),
    "repeating at once": limited([ADD, ADD], repeat_limit=2),
    "text of special tokens": Case(["a <|im_end|> b <tool_call> c"]),
    "unicode": Case(["Grüße 🎉 " + call("fail", reason="e\u0301 \u2028 🎉"), "Ça va."]),
    "backend error in the first answer's revision": Case(
        [PLAN, BackendUnavailable("gone")], "explicit"
    ),
    "backend error later": Case([ADD, BackendUnavailable("gone")]),
}


def rechunked(case: Case, size: int | None) -> tuple[Agent, dict[str, Any]]:
    script = [
        replace(reply, chunk_size=size) if isinstance(reply, Reply) else reply
        for reply in case.script
    ]
    backend = ScriptedBackend(script, chunk_size=size, renders_prompts=case.profile_renders)
    agent = Agent(
        backend,
        tools=TOOLS,
        planning=case.planning,
        limits=case.limits,
        instructions="Be brief.",
    )
    token = CancelToken()
    return agent, {"deps": token, "cancel": token}


def said(result: RunResult) -> list[tuple[str, int, Message | None, Any]]:
    """The trajectory without clocks.

    What happened at the same time is sorted: calls begin and end in whatever order they do. One
    that begins before its message is written brings its name and arguments along.
    """
    entries = sorted(result.trajectory, key=lambda e: (e.step, called(e)))
    return [(e.kind, e.step, e.message, without_early(e)) for e in entries]


def without_early(entry: Entry) -> dict[str, Any]:
    early = {"name", "arguments"} if entry.kind == "call" else set[str]()
    return {key: value for key, value in entry.data.items() if key not in early}


def called(entry: Entry) -> str:
    """The call that an entry is about; empty for others, which keep their order."""
    if isinstance(entry.message, ToolMessage):
        return f"{entry.message.call_id} observation"
    return f"{entry.data['call_id']} call" if entry.kind == "call" else ""


def outcome(result: RunResult) -> dict[str, Any]:
    """Everything of a result that does not depend on the clock or on random ids."""
    return {
        "status": result.status,
        "output": result.output,
        "plan": result.plan,
        "steps": result.steps,
        "usage": replace(result.usage, seconds=0.0),
        "error": str(result.error),
        "pending": result.pending_approvals,
        "notes": result.notes,
        "trajectory": said(result),
        "messages": result.trajectory.messages(),
    }


@pytest.mark.parametrize("size", [1, 3, 7, None])
@pytest.mark.parametrize("name", CASES)
async def test_streamed_and_unstreamed_runs_are_equal(name: str, size: int | None) -> None:
    agent, options = rechunked(CASES[name], None)
    unstreamed = await agent.run("task", **options)
    agent, options = rechunked(CASES[name], size)
    events, streamed = await stream(agent, **options)
    assert outcome(streamed) == outcome(unstreamed)
    check_events(events, streamed)


@pytest.mark.parametrize("name", CASES)
async def test_chunks_make_no_difference_to_an_unstreamed_run(name: str) -> None:
    agent, options = rechunked(CASES[name], None)
    whole = await agent.run("task", **options)
    agent, options = rechunked(CASES[name], 1)
    assert outcome(await agent.run("task", **options)) == outcome(whole)


def check_events(events: list[Any], result: RunResult) -> None:
    """What the events must tell, whatever the run did."""
    assert isinstance(events[0], RunStarted)
    assert (events[0].run_id, events[0].task) == (result.run_id, "task")
    assert events[-1] == RunFinished(result)
    assert sum(isinstance(event, RunStarted | RunFinished) for event in events) == 2
    steps = [event.step for event in events if isinstance(event, StepStarted)]
    assert steps == list(range(1, len(steps) + 1))
    done = [event.step for event in events if isinstance(event, StepFinished)]
    assert done == steps[: len(done)]
    started = {event.call.id for event in events if isinstance(event, ToolStarted)}
    finished = {e.observation.call_id for e in events if isinstance(e, ToolFinished)}
    assert finished <= {o.call_id for step in result.steps for o in step.observations}
    if result.status not in ("cancelled", "timeout"):
        assert started <= finished


async def test_a_session_goes_on_alike() -> None:
    async def first_two(agent: Agent, *, streamed: bool) -> list[dict[str, Any]]:
        if streamed:
            return [outcome((await stream(agent, session="s"))[1]) for _ in range(2)]
        return [outcome(await agent.run("task", session="s")) for _ in range(2)]

    script: list[str | Reply | Exception] = [ADD, "3", call("buy", item="a")]
    plain = await first_two(rechunked(Case(script), None)[0], streamed=False)
    assert await first_two(rechunked(Case(script), 1)[0], streamed=True) == plain
    assert [end["status"] for end in plain] == ["completed", "needs_approval"]


@pytest.mark.parametrize("name", ["max steps", "needs approval", "timeout", "backend error later"])
async def test_a_streamed_run_is_resumed_like_an_unstreamed_one(name: str) -> None:
    case = replace(CASES[name], script=[*CASES[name].script, "done"])
    outcomes: list[dict[str, Any]] = []
    for streamed in (False, True):
        agent, options = rechunked(case, 3)
        result = (await stream(agent, **options))[1] if streamed else await agent.run("task")
        decisions = {waiting.id: True for waiting in result.pending_approvals}
        outcomes.append(outcome(await agent.resume(result.run_id, approvals=decisions)))
    assert outcomes[0] == outcomes[1]


async def test_the_streamed_text_is_the_answer() -> None:
    agent, options = rechunked(CASES["inline plan, answer"], 1)
    events, result = await stream(agent, **options)
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert text.strip() == result.output


@pytest.mark.parametrize("error", [BackendUnavailable("gone"), RuntimeError("bug")])
async def test_errors_are_the_same_and_not_wrapped(error: Exception) -> None:
    def agent() -> Agent:
        return Agent(ScriptedBackend([error]))

    with pytest.raises(type(error)) as plain:
        await agent().run("x")
    with pytest.raises(type(error)) as streamed:
        await stream(agent())
    assert plain.value is error
    assert streamed.value is error


async def test_a_slow_reader_loses_nothing() -> None:
    agent, options = rechunked(CASES["many steps"], 1)
    fast, _ = await stream(agent, **options)
    agent, options = rechunked(CASES["many steps"], 1)
    slow: list[object] = []
    async with agent.stream("task", **options) as run:
        async for event in run:
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
            slow.append(event)
    assert [type(event) for event in slow] == [type(event) for event in fast]


def test_every_status_is_in_the_table() -> None:
    statuses: set[RunStatus] = set()
    for case in CASES.values():
        agent, options = rechunked(case, None)
        statuses.add(agent.run_sync("task", **options).status)
    # Where a stop meets the message is a matter of timing: `test_stopping` has it.
    assert statuses == set(RunStatus) - {RunStatus.stopped}
