"""Calls start while the model still writes: order, limits, approvals, broken streams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import anyio
import pytest

from ling_agent import (
    Agent,
    BackendUnavailable,
    CancelToken,
    Limits,
    Memory,
    RunContext,
    RunResult,
    RunStatus,
    tool,
)
from ling_agent.events import (
    ApprovalRequested,
    CallParsed,
    Event,
    StepFinished,
    TextDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from ling_agent.hooks import AfterTool
from ling_agent.memory import InMemoryStore, Trajectory
from ling_agent.messages import AssistantMessage, ToolMessage
from ling_agent.tools import Tool

from .helpers import GUARD, call, kinds, observations, stream
from .paced import PacedBackend, Piece, forever, until

pytestmark = pytest.mark.anyio

BROKEN = '<tool_call>\n{"name": "work", "arguments": {"n": }}\n</tool_call>'


class Bench:
    """A tool that records what ran, with an event for each call that has begun and ended."""

    def __init__(self, *, hangs: tuple[int, ...] = (), idempotent: bool = False) -> None:
        self.ran: list[int] = []
        self.begun = [anyio.Event() for _ in range(9)]
        self.ended = [anyio.Event() for _ in range(9)]
        self.release = anyio.Event()

        @tool(idempotent=idempotent)
        async def work(n: int) -> str:
            """Work."""
            self.ran.append(n)
            self.begun[n].set()
            if n in hangs:
                await self.release.wait()
            self.ended[n].set()
            return f"worked {n}"

        self.work = work

    def agent(self, *messages: list[Piece], **options: Any) -> Agent:
        self.backend = PacedBackend(*messages, renders_prompts=options.pop("renders", False))
        tools: list[Tool[..., Any]] = [self.work, *options.pop("tools", ())]
        return Agent(self.backend, tools=tools, planning="off", **options)


def well_formed(trajectory: Trajectory) -> None:
    """Every call of the conversation has one observation, behind its message, in its order."""
    waiting: list[str] = []
    for message in trajectory.messages():
        if isinstance(message, ToolMessage):
            assert waiting
            assert message.call_id == waiting.pop(0)
        else:
            assert not waiting
        if isinstance(message, AssistantMessage):
            waiting = [call.id for call in message.calls]
    assert not waiting


def extends(backend: PacedBackend) -> None:
    """Each prompt begins with the one before it."""
    prompts = backend.prompts()
    for earlier, later in pairwise(prompts):
        assert later.startswith(earlier)


def place(events: list[Event], kind: type[Event], call_id: str) -> int:
    """Where the event of a call is."""
    for index, event in enumerate(events):
        if isinstance(event, kind):
            match event:
                case CallParsed():
                    if event.id == call_id:
                        return index
                case ToolStarted(made) | ApprovalRequested(made):
                    if made.id == call_id:
                        return index
                case ToolFinished(observation):
                    if observation.call_id == call_id:
                        return index
                case _:
                    pass
    raise AssertionError(f"no {kind.__name__} of {call_id}")


# -- while the model writes -----------------------------------------------------------------------


async def test_a_call_starts_and_ends_before_the_next_one_is_written() -> None:
    bench = Bench()
    agent = bench.agent(
        [call("work", n=0), until(bench.ended[0]), call("work", n=1), until(bench.ended[1])],
        ["done"],
    )
    with anyio.fail_after(GUARD):
        result = await agent.run("x")
    assert (result.output, observations(result)) == ("done", ["worked 0", "worked 1"])
    assert bench.ran == [0, 1]
    well_formed(result.trajectory)


async def test_a_call_starts_before_its_tag_is_closed() -> None:
    """Its JSON is complete: what can follow is only the tag."""
    bench = Bench()
    text = call("work", n=0)
    body = text.removesuffix("</tool_call>")
    agent = bench.agent([body, "</tool", "_call>", until(bench.ended[0])], ["done"])
    with anyio.fail_after(GUARD):
        result = await agent.run("x")
    assert observations(result) == ["worked 0"]


async def test_a_call_runs_on_while_the_next_one_is_written() -> None:
    bench = Bench(hangs=(0,))
    agent = bench.agent(
        [
            call("work", n=0),
            until(bench.begun[0]),
            "and ",
            call("work", n=1),
            until(bench.ended[1]),
            bench.release.set,
        ],
        ["done"],
    )
    events, result = await stream(agent)
    assert observations(result) == ["worked 0", "worked 1"]
    assert place(events, ToolFinished, "call_1_1") < place(events, ToolFinished, "call_1_0")
    well_formed(result.trajectory)


async def test_order_of_the_events() -> None:
    bench = Bench()
    agent = bench.agent(
        ["Well. ", call("work", n=0), until(bench.ended[0]), " More. ", call("work", n=1)],
        ["done"],
    )
    events, _ = await stream(agent)
    for call_id in ("call_1_0", "call_1_1"):
        parsed = place(events, CallParsed, call_id)
        assert parsed < place(events, ToolStarted, call_id) < place(events, ToolFinished, call_id)
    finished = [i for i, e in enumerate(events) if isinstance(e, StepFinished)]
    of_tools = [i for i, e in enumerate(events) if isinstance(e, ToolStarted | ToolFinished)]
    assert max(of_tools) < finished[0]
    assert place(events, ToolStarted, "call_1_0") < place(events, CallParsed, "call_1_1")


async def test_progress_comes_between_the_deltas_of_a_later_call() -> None:
    ticked, written = anyio.Event(), anyio.Event()

    @tool
    async def tick(ctx: RunContext[None]) -> str:
        """Tick."""
        ctx.emit("tick")
        ticked.set()
        await written.wait()
        ctx.emit("tock")
        return "ticked"

    backend = PacedBackend(
        [call("tick"), until(ticked), "later", written.set],
        ["done"],
    )
    events, _ = await stream(Agent(backend, tools=[tick], planning="off"))
    told = [str(e.payload) for e in events if isinstance(e, ToolProgress)]
    assert told == ["tick", "tock"]
    said = [e.text for e in events if isinstance(e, TextDelta)]
    assert "later" in "".join(said)


async def test_a_slow_reader_loses_nothing_and_gets_it_in_order() -> None:
    bench = Bench()
    agent = bench.agent([*(call("work", n=n) for n in range(4))], ["done"])
    seen: list[Event] = []
    with anyio.fail_after(GUARD):
        async with agent.stream("x") as run:
            async for event in run:
                for _ in range(7):
                    await anyio.lowlevel.checkpoint()
                seen.append(event)
    for n in range(4):
        assert (
            place(seen, CallParsed, f"call_1_{n}")
            < place(seen, ToolStarted, f"call_1_{n}")
            < place(seen, ToolFinished, f"call_1_{n}")
        )
    assert len([e for e in seen if isinstance(e, ToolFinished)]) == 4


# -- limits ---------------------------------------------------------------------------------------


async def test_no_more_calls_at_a_time_than_may() -> None:
    bench = Bench(hangs=(0, 1))
    agent = bench.agent(
        [
            call("work", n=0),
            call("work", n=1),
            until(bench.begun[0]),
            until(bench.begun[1]),
            call("work", n=2),
            *[anyio.lowlevel.checkpoint] * 20,
            lambda: bench.ran.append(-1),
            bench.release.set,
            until(bench.ended[2]),
        ],
        ["done"],
        limits=Limits(max_parallel_tools=2),
    )
    with anyio.fail_after(GUARD):
        result = await agent.run("x")
    assert sorted(bench.ran[:2]) == [0, 1]
    assert bench.ran[2:] == [-1, 2], "the third one had to wait for the model and another call"
    assert observations(result) == ["worked 0", "worked 1", "worked 2"]


async def test_an_exclusive_call_waits_for_those_before_it_and_keeps_those_behind_it() -> None:
    bench = Bench(hangs=(0,))
    order = bench.ran
    alone_ended = anyio.Event()

    @tool(exclusive=True)
    async def alone() -> str:
        """Be alone."""
        assert bench.ended[0].is_set()
        assert not bench.begun[1].is_set()
        order.append(-1)
        await anyio.lowlevel.checkpoint()
        alone_ended.set()
        return "alone"

    agent = bench.agent(
        [
            call("work", n=0),
            call("alone"),
            call("work", n=1),
            until(bench.begun[0]),
            bench.release.set,
            until(alone_ended),
            until(bench.ended[1]),
        ],
        ["done"],
        tools=[alone],
    )
    with anyio.fail_after(GUARD):
        result = await agent.run("x")
    assert order == [0, -1, 1]
    assert observations(result) == ["worked 0", "alone", "worked 1"]


async def test_the_limit_of_calls_holds_while_the_model_writes() -> None:
    bench = Bench()
    agent = bench.agent(
        [call("work", n=0), until(bench.ended[0]), call("work", n=1), call("work", n=2)],
        ["done"],
        limits=Limits(max_tool_calls=1),
    )
    with anyio.fail_after(GUARD):
        result = await agent.run("x")
    assert result.status is RunStatus.max_tool_calls
    assert (bench.ran, result.usage.tool_calls) == ([0], 1)
    resumed = await agent.resume(result.run_id, limits=Limits())
    assert (resumed.output, sorted(bench.ran)) == ("done", [0, 1, 2])
    well_formed(resumed.trajectory)


@pytest.mark.parametrize("waits", [True, False])
async def test_a_call_that_does_not_fit_takes_a_place_of_its_message_only(waits: bool) -> None:
    """Whether it was found not to fit before or after the next one was written."""
    bench = Bench()
    pause = [anyio.lowlevel.checkpoint] * 20 if waits else []
    agent = bench.agent(
        [call("work", m=0), *pause, call("work", n=1)],
        [call("work", n=2)],
        ["done"],
        limits=Limits(max_tool_calls=1),
    )
    result = await agent.run("x")
    assert (result.status, bench.ran) == (RunStatus.max_tool_calls, [])
    resumed = await agent.resume(result.run_id)
    assert (resumed.status, bench.ran) == (RunStatus.max_tool_calls, [1])
    assert resumed.usage.tool_calls == 1


async def test_a_call_that_did_not_fit_takes_no_place_of_the_next_message() -> None:
    bench = Bench()
    agent = bench.agent(
        [call("work", m=0)], [call("work", n=1)], ["done"], limits=Limits(max_tool_calls=1)
    )
    result = await agent.run("x")
    assert (result.output, bench.ran) == ("done", [1])


async def test_a_repetition_within_a_message_runs_once() -> None:
    bench = Bench()
    agent = bench.agent(
        [call("work", n=0), until(bench.ended[0]), call("work", n=0), call("work", n=0)],
        ["done"],
    )
    with anyio.fail_after(GUARD):
        result = await agent.run("x")
    assert bench.ran == [0]
    first, second, third = observations(result)
    assert first == "worked 0"
    assert "twice" in second
    assert "twice" in third
    assert result.status is RunStatus.completed


async def test_unreadable_siblings_are_answered_in_their_place() -> None:
    bench = Bench()
    agent = bench.agent(
        [
            BROKEN,
            call("work", n=0),
            until(bench.ended[0]),
            BROKEN,
            call("work", n=1),
            until(bench.ended[1]),
            BROKEN,
        ],
        ["done"],
    )
    with anyio.fail_after(GUARD):
        result = await agent.run("x")
    texts = observations(result)
    assert [text.startswith("Error") for text in texts] == [True, False, True, False, True]
    assert bench.ran == [0, 1]


async def test_an_unknown_tool_is_answered_in_its_place() -> None:
    bench = Bench()
    agent = bench.agent([call("wrok", n=0), call("work", n=1), until(bench.ended[1])], ["done"])
    with anyio.fail_after(GUARD):
        result = await agent.run("x")
    unknown, worked = observations(result)
    assert "work" in unknown
    assert worked == "worked 1"


async def test_an_approval_in_the_middle_holds_what_comes_behind_it() -> None:
    bench = Bench()

    @tool(requires_approval=True)
    async def buy() -> str:
        """Buy."""
        bench.ran.append(-1)
        return "bought"

    agent = bench.agent(
        [call("work", n=0), until(bench.ended[0]), call("buy"), call("work", n=1), BROKEN],
        ["done"],
        tools=[buy],
    )
    events, result = await stream(agent)
    assert result.status is RunStatus.needs_approval
    assert bench.ran == [0]
    assert [c.id for c in result.pending_approvals] == ["call_1_1"]
    assert len([e for e in events if isinstance(e, ApprovalRequested)]) == 1
    kept = Trajectory.from_jsonl(result.trajectory.to_jsonl())
    assert list(kept) == list(result.trajectory)
    resumed = await agent.resume(result.run_id, approvals={"call_1_1": True})
    assert resumed.output == "done"
    assert sorted(bench.ran) == [-1, 0, 1]
    assert observations(resumed)[:3] == ["worked 0", "bought", "worked 1"]


async def test_the_observation_is_in_the_log_as_soon_as_its_message_is() -> None:
    """A call that ended early is answered at once; the log's order is call, message, answer."""
    bench = Bench()
    agent = bench.agent([call("work", n=0), until(bench.ended[0])], ["done"])
    result = await agent.run("x")
    order = [k for k in kinds(result) if k in ("call", "assistant", "observation")]
    assert order == ["call", "assistant", "observation", "assistant"]
    assert [s.index for s in result.steps] == [1, 2]
    assert [o.content for o in result.steps[0].observations] == ["worked 0"]


async def test_tools_of_the_memory_answer_while_the_model_writes() -> None:
    """What is pinned by then is in the log in front of the message; the prompts only grow."""
    bench = Bench()
    text = "\n".join(f"Line {n}: the code of room {n} is {n * 7919}." for n in range(800))
    agent = bench.agent(
        [
            call("recall", query="code of room 333"),
            call("pin", text="Room 333 matters."),
            call("work", n=0),
            until(bench.ended[0]),
            *[anyio.lowlevel.checkpoint] * 50,
            "Wait.",
        ],
        [call("work", n=1)],
        ["done"],
        memory=Memory(context_window=4000),
        renders=True,
    )
    with anyio.fail_after(GUARD):
        result = await agent.run("What is the code of room 333?", documents=[text], session="s")
    recalled, pinned, worked = observations(result)[:3]
    assert str(333 * 7919) in recalled
    assert (pinned, worked, result.output) == ("Pinned.", "worked 0", "done")
    assert [entry.kind for entry in result.trajectory].count("pin") == 1
    memory = [e.data.get("memory", False) for e in result.trajectory if e.kind == "observation"]
    assert sorted(memory) == [False, False, True, True]
    well_formed(result.trajectory)
    extends(bench.backend)


# -- small models ---------------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", [500_000_000, None])
async def test_behind_a_plan_only_a_small_models_first_call_runs(parameters: int | None) -> None:
    bench = Bench()
    rest = 'n": 0}}\n</tool_call>' if parameters else '{"n": 0}}\n</tool_call>'
    drafted: list[list[Piece]] = [["none"], ["none"]]
    asked: list[list[Piece]] = [[]]  # whether it is meant
    backend = PacedBackend(
        ["<tool_call>"],
        *(drafted if parameters else ()),
        ["work`.\n"],
        [f"{rest}\n{call('work', n=1)}"],
        *(asked if parameters else ()),
        ["done"],
        renders_prompts=True,
        parameters=parameters,
    )
    agent = Agent(backend, tools=[bench.work], planning="inline")
    with anyio.fail_after(GUARD):
        result = await agent.run("x")
    assert result.output == "done"
    assert sorted(bench.ran) == ([0] if parameters else [0, 1])
    message = result.steps[0].message
    assert len(message.calls) == len(bench.ran)
    prompts = [
        prompt
        for prompt, request in zip(backend.prompts(), backend.requests, strict=True)
        if request.tool_choice != "python" and not request.weigh  # which are not kept
    ]
    assert all(later.startswith(earlier) for earlier, later in pairwise(prompts))


# -- streams that break off -----------------------------------------------------------------------


async def broken(
    bench: Bench, how: str, agent: Agent, session: str, reached: anyio.Event | None = None
) -> RunResult | None:
    """A run whose first message breaks off behind calls."""
    token = CancelToken()
    limits = Limits(timeout=1.0) if how == "timeout" else None
    results: list[RunResult] = []

    async def run() -> None:
        results.append(await agent.run("x", session=session, cancel=token, limits=limits))

    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await bench.begun[1].wait()
            await bench.ended[0].wait()
            if reached is not None:
                await reached.wait()
            if how == "token":
                token.cancel()
            elif how == "native":
                group.cancel_scope.cancel()
    return results[0] if results else None


EXPECTED = {
    "unavailable": RunStatus.failed,
    "token": RunStatus.cancelled,
    "timeout": RunStatus.timeout,
}


@pytest.mark.parametrize("renders", [True, False])
@pytest.mark.parametrize("how", ["unavailable", "token", "native", "timeout"])
async def test_what_ran_is_kept_when_the_stream_breaks_off(how: str, renders: bool) -> None:
    hangs = () if how == "unavailable" else (1,)
    bench = Bench(hangs=hangs)
    end: Piece = BackendUnavailable("gone") if how == "unavailable" else forever
    agent = bench.agent(
        [
            "I do: ",
            call("work", n=0),
            call("work", n=1),
            until(bench.ended[0]),
            until(bench.begun[1]),
            '<tool_call>\n{"name": "wo',
            end,
        ],
        [call("work", n=2)],
        ["done"],
        renders=renders,
        memory=Memory(InMemoryStore()),
    )
    result = await broken(bench, how, agent, "s")
    if result is not None:
        assert result.status is EXPECTED[how]
        texts = observations(result)
        assert texts[0] == "worked 0"
        assert ("interrupted" in texts[1]) == bool(hangs)
        well_formed(result.trajectory)
        assert [o.content for o in result.steps[0].observations] == texts
        assert result.usage.tool_calls == 2
    resumed = await agent.resume("s")
    assert resumed.output == "done"
    assert sorted(bench.ran) == [0, 1, 2], "no call ran twice"
    texts = observations(resumed)
    assert texts[0] == "worked 0"
    assert texts[2] == "worked 2"
    well_formed(resumed.trajectory)
    extends(bench.backend)
    assert list(Trajectory.from_jsonl(resumed.trajectory.to_jsonl())) == list(resumed.trajectory)
    assert list(agent.memory.store.load("s")) == list(resumed.trajectory)


async def test_an_interrupted_idempotent_call_runs_again() -> None:
    bench = Bench(hangs=(1,), idempotent=True)
    agent = bench.agent(
        [call("work", n=0), call("work", n=1), until(bench.ended[0]), forever], ["done"]
    )
    await broken(bench, "token", agent, "s")
    bench.release.set()
    resumed = await agent.resume("s")
    assert bench.ran.count(0) == 1
    assert bench.ran.count(1) == 2
    assert observations(resumed) == ["worked 0", "worked 1"]
    well_formed(resumed.trajectory)


async def test_calls_that_wait_for_their_turn_have_not_begun_when_it_breaks_off() -> None:
    """They are in the log as what the model wrote, and run on resume."""
    bench = Bench(hangs=(1,))
    written = anyio.Event()
    agent = bench.agent(
        [
            call("work", n=0),
            until(bench.ended[0]),
            call("work", n=1),
            until(bench.begun[1]),
            call("work", n=2),
            written.set,
            forever,
        ],
        ["done"],
        limits=Limits(max_parallel_tools=1),
    )
    result = await broken(bench, "token", agent, "s", written)
    assert result is not None
    assert bench.ran == [0, 1]
    resumed = await agent.resume("s")
    assert bench.ran == [0, 1, 2]
    assert observations(resumed)[2] == "worked 2"
    well_formed(resumed.trajectory)


async def test_a_new_task_after_a_broken_stream() -> None:
    bench = Bench(hangs=(1,))
    agent = bench.agent(
        [call("work", n=0), call("work", n=1), until(bench.ended[0]), forever], ["fine"]
    )
    await broken(bench, "native", agent, "s")
    result = await agent.run("Something else.", session="s")
    assert result.output == "fine"
    well_formed(result.trajectory)
    extends(bench.backend)


@pytest.mark.parametrize("how", ["token", "stop", "deadline"])
async def test_ended_just_when_the_message_is_whole(how: str) -> None:
    """What the calls have answered by then is kept, and none of them is made again."""
    bench = Bench()
    token = CancelToken()
    ends: Callable[[], object] = {"token": token.cancel, "stop": token.stop}.get(how, lambda: None)
    last: list[Piece] = [ends]
    if how == "deadline":
        last = [lambda: _spin(1.2)]
    agent = bench.agent(
        [call("work", n=0), call("work", n=1), until(bench.ended[0]), until(bench.ended[1]), *last],
        ["done"],
    )
    limits = Limits(timeout=1.0) if how == "deadline" else None
    with anyio.fail_after(GUARD):
        result = await agent.run("x", cancel=token, limits=limits)
    assert result.status in (RunStatus.cancelled, RunStatus.stopped, RunStatus.timeout)
    assert observations(result) == ["worked 0", "worked 1"]
    resumed = await agent.resume(result.run_id)
    assert (resumed.output, sorted(bench.ran)) == ("done", [0, 1])
    assert observations(resumed) == ["worked 0", "worked 1"]


def _spin(seconds: float) -> None:
    """Keep the event loop busy over a deadline, so that nothing can be cancelled meanwhile."""
    import time

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


async def test_an_error_of_a_hook_ends_the_run_when_the_message_is_whole() -> None:
    """It is raised when the message is whole; what else ran is kept."""
    bench = Bench()
    counted: Counter[str] = Counter()

    async def fragile(moment: AfterTool) -> None:
        counted[moment.call.id] += 1
        if moment.call.id == "call_1_0":
            raise RuntimeError("hook")

    agent = bench.agent(
        [call("work", n=0), until(bench.ended[0]), call("work", n=1), until(bench.ended[1])],
        ["done"],
        hooks=[fragile],
    )
    with anyio.fail_after(GUARD), pytest.raises(RuntimeError, match="hook"):
        await agent.run("x", session="s")
    resumed = await agent.resume("s")
    assert (resumed.output, sorted(bench.ran)) == ("done", [0, 1])
    well_formed(resumed.trajectory)
    assert "worked 1" in observations(resumed)
