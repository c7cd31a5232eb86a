"""`Agent.as_tool`: nested events, shared limits, cancellation through, approvals, going on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import BaseModel

from ling_agent import (
    Agent,
    BackendUnavailable,
    CancelToken,
    ConfigurationError,
    Deny,
    Limits,
    Memory,
    RunContext,
    RunResult,
    RunStatus,
    tool,
)
from ling_agent.approvals import ApprovalRequest
from ling_agent.events import (
    ApprovalRequested,
    Event,
    StepFinished,
    SubagentEvent,
    TextDelta,
    ToolFinished,
    ToolStarted,
)
from ling_agent.memory import InMemoryStore, SQLiteStore, Trajectory
from ling_agent.messages import ToolMessage
from ling_agent.results import Usage
from ling_agent.testing import Reply, ScriptedBackend

from .helpers import GUARD, call, calls, kinds, observations, stream
from .paced import PacedBackend, Piece, forever, until

pytestmark = pytest.mark.anyio


class Shop:
    """A tool that needs approval, and one that does not."""

    def __init__(self) -> None:
        self.ran: list[str] = []

        @tool(requires_approval=True)
        async def buy(item: str) -> str:
            """Buy an item."""
            self.ran.append(f"buy {item}")
            return f"bought {item}"

        @tool
        async def look(item: str) -> str:
            """Look at an item."""
            self.ran.append(f"look {item}")
            return f"{item} is here"

        self.tools = [buy, look]


def agent(*script: Any, tools: Any = (), name: str = "agent", **options: Any) -> Agent[Any]:
    backend = script[0] if isinstance(script[0], PacedBackend) else ScriptedBackend(script)
    return Agent(backend, tools=tools, planning="off", name=name, **options)


def ask(name: str = "child", task: str = "subtask") -> str:
    return call(name, task=task)


def nested(events: list[Event], call_id: str = "call_1_0") -> list[Event]:
    return [e.event for e in events if isinstance(e, SubagentEvent) and e.call_id == call_id]


# -- events ---------------------------------------------------------------------------------------


async def test_its_answer_is_the_observation_and_its_events_are_nested() -> None:
    shop = Shop()
    child = agent(call("look", item="a"), "It is here.", tools=shop.tools, name="child")
    parent = agent(ask(), "done", tools=[child.as_tool(description="Looks.")])
    events, result = await stream(parent)
    assert (result.output, observations(result)) == ("done", ["It is here."])
    inner = nested(events)
    assert [type(e).__name__ for e in inner if isinstance(e, ToolStarted | ToolFinished)] == [
        "ToolStarted",
        "ToolFinished",
    ]
    assert "".join(e.text for e in inner if isinstance(e, TextDelta)) == "It is here."
    assert [e.step for e in inner if isinstance(e, StepFinished)] == [1, 2]
    (first, *_) = [e for e in events if isinstance(e, SubagentEvent)]
    assert (first.agent, first.run_id) == ("child", f"{result.run_id}/call_1_0")
    places = [i for i, e in enumerate(events) if isinstance(e, SubagentEvent)]
    started = next(i for i, e in enumerate(events) if isinstance(e, ToolStarted))
    finished = next(i for i, e in enumerate(events) if isinstance(e, ToolFinished))
    assert started < min(places)
    assert max(places) < finished


async def test_two_levels_deep() -> None:
    shop = Shop()
    grandchild = agent(call("look", item="a"), "Here.", tools=shop.tools, name="grandchild")
    child = agent(ask("grandchild"), "Found.", tools=[grandchild.as_tool()], name="child")
    parent = agent(ask(), "done", tools=[child.as_tool()])
    events, result = await stream(parent)
    assert (result.output, observations(result)) == ("done", ["Found."])
    inner = nested(nested(events))
    assert "".join(e.text for e in inner if isinstance(e, TextDelta)) == "Here."
    deepest = [e for e in nested(events) if isinstance(e, SubagentEvent)]
    assert deepest[0].run_id == f"{result.run_id}/call_1_0/call_1_0"
    assert result.usage.requests == 6
    assert result.usage.tool_calls == 3


async def test_without_a_reader_nothing_is_sent() -> None:
    child = agent("Fine.", name="child")
    result = await agent(ask(), "done", tools=[child.as_tool()]).run("x")
    assert observations(result) == ["Fine."]


async def test_name_and_description() -> None:
    child = agent("Fine.", name="child")
    made = child.as_tool(name="helper", description="Helps.")
    assert (made.name, made.description) == ("helper", "Helps.")
    assert list(made.parameters["properties"]) == ["task"]
    assert "child" in child.as_tool().description


# -- cost and limits ------------------------------------------------------------------------------


async def test_its_cost_counts_for_both() -> None:
    cost = Usage(prompt_tokens=100, completion_tokens=10)
    child = agent(Reply("Fine.", usage=cost), name="child")
    parent = agent(Reply(ask(), usage=cost), Reply("done", usage=cost), tools=[child.as_tool()])
    events, result = await stream(parent)
    assert result.usage.total_tokens == 330
    assert result.usage.requests == 3
    assert [e.usage.total_tokens for e in events if isinstance(e, StepFinished)] == [220, 110]
    assert [e.usage.total_tokens for e in nested(events) if isinstance(e, StepFinished)] == [110]
    assert [s.usage.total_tokens for s in result.steps] == [220, 110]


async def test_its_own_limits() -> None:
    shop = Shop()
    child = agent(
        call("look", item="a"),
        call("look", item="b"),
        "done",
        tools=shop.tools,
        name="child",
        limits=Limits(max_steps=1),
    )
    result = await agent(ask(), "done", tools=[child.as_tool()]).run("x")
    assert result.output == "done"
    assert observations(result) == ["Error: child ended as max_steps"]
    assert shop.ran == ["look a"]


async def test_the_others_limit_of_calls_holds_for_it() -> None:
    shop = Shop()
    child = agent(
        calls(*(call("look", item=str(n)) for n in range(5))),
        "done",
        tools=shop.tools,
        name="child",
    )
    parent = agent(ask(), "done", tools=[child.as_tool()], limits=Limits(max_tool_calls=3))
    result = await parent.run("x")
    assert len(shop.ran) == 2, "the call of the child itself is the first"
    assert "max_tool_calls" in observations(result)[0]
    assert result.usage.tool_calls == 3


async def test_the_others_limit_of_tokens_holds_for_it() -> None:
    cost = Usage(prompt_tokens=100, completion_tokens=100)
    looks: list[Any] = [Reply(call("look", item=str(n)), usage=cost) for n in range(20)]
    shop = Shop()
    child = agent(*looks, tools=shop.tools, name="child")
    parent = agent(
        Reply(ask(), usage=cost),
        "done",
        tools=[child.as_tool()],
        limits=Limits(max_total_tokens=2000),
    )
    result = await parent.run("x")
    assert result.status in (RunStatus.max_tokens, RunStatus.completed)
    assert "max_tokens" in observations(result)[0]
    assert result.usage.total_tokens <= 2000


async def test_children_side_by_side_share_the_calls() -> None:
    shop = Shop()

    def script(request: Any) -> str:
        n = len([m for m in request.messages if isinstance(m, ToolMessage)])
        task = request.messages[0].content
        return call("look", item=f"{task} {n}") if n < 5 else "done"

    child = agent(*[script] * 30, tools=shop.tools, name="child")
    text = calls(*(ask(task=f"t{n}") for n in range(3)))
    parent = agent(text, "done", tools=[child.as_tool()], limits=Limits(max_tool_calls=9))
    result = await parent.run("x")
    assert len(shop.ran) == 6
    assert result.usage.tool_calls == 9
    assert any("max_tool_calls" in text for text in observations(result))


@pytest.mark.parametrize(("completion", "answered"), [(969, 1), (5, 2)])
async def test_children_side_by_side_share_the_tokens(completion: int, answered: int) -> None:
    """What one of them may spend is not there for the others; what it leaves is."""
    cost = Usage(prompt_tokens=10, completion_tokens=completion)
    backends = [PacedBackend(["Fine."], usage=cost) for _ in range(2)]
    tools = [agent(b, name=f"child{n}").as_tool() for n, b in enumerate(backends)]
    parent = agent(
        PacedBackend([ask("child0"), ask("child1")], ["done"], usage=Usage(10, 10)),
        tools=tools,
        limits=Limits(max_total_tokens=1000),
    )
    with anyio.fail_after(GUARD):
        result = await parent.run("x")
    told = observations(result)
    assert told.count("Fine.") == answered
    assert sum(len(b.requests) for b in backends) == answered
    assert result.usage.total_tokens <= 1000


async def test_a_child_waits_for_what_its_parents_model_may_still_spend() -> None:
    """It begins early, and asks when it is known what the message costs that called it."""
    asked: list[int] = []
    model = PacedBackend(
        [ask(), *[anyio.lowlevel.checkpoint] * 30, lambda: asked.append(len(child.requests))],
        ["done"],
        usage=Usage(10, 10),
    )
    child = PacedBackend(["Fine."], usage=Usage(10, 10))
    parent = agent(
        model, tools=[agent(child, name="child").as_tool()], limits=Limits(max_total_tokens=1000)
    )
    with anyio.fail_after(GUARD):
        result = await parent.run("x")
    assert (result.output, observations(result), asked) == ("done", ["Fine."], [0])


# -- the end --------------------------------------------------------------------------------------


class Hanging:
    """A child whose tool hangs."""

    def __init__(self, *, idempotent: bool = False) -> None:
        self.begun = anyio.Event()
        self.release = anyio.Event()
        self.ran = 0
        self.cancelled = False

        @tool(idempotent=idempotent)
        async def hang() -> str:
            """Hang."""
            self.ran += 1
            self.begun.set()
            try:
                await self.release.wait()
            except BaseException:
                self.cancelled = True
                raise
            return "hung"

        self.child = agent(call("hang"), "Fine.", "Fine.", tools=[hang], name="child")


async def ended(
    parent: Agent[Any], begun: anyio.Event, then: Callable[[CancelToken], object], **options: Any
) -> RunResult[Any]:
    token = CancelToken()
    results: list[RunResult[Any]] = []

    async def run() -> None:
        results.append(await parent.run("x", cancel=token, **options))

    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await begun.wait()
            then(token)
    return results[0]


@pytest.mark.parametrize("how", ["cancel", "timeout"])
async def test_cancellation_goes_through_and_the_child_is_gone_on_with(how: str) -> None:
    hanging = Hanging()
    parent = agent(ask(), "done", tools=[hanging.child.as_tool()], memory=Memory(InMemoryStore()))
    limits = Limits(timeout=1.0) if how == "timeout" else None
    result = await ended(
        parent,
        hanging.begun,
        lambda token: token.cancel() if how == "cancel" else None,
        limits=limits,
    )
    assert result.status is (RunStatus.cancelled if how == "cancel" else RunStatus.timeout)
    assert hanging.cancelled
    kept = parent.memory.store.load(f"{result.run_id}/call_1_0")
    assert "interrupted" in kept.messages()[-1].content
    resumed = await parent.resume(result.run_id)
    assert (resumed.output, hanging.ran) == ("done", 1)
    assert observations(resumed) == ["Fine."]


async def test_native_cancellation_goes_through() -> None:
    hanging = Hanging()
    parent = agent(ask(), "done", tools=[hanging.child.as_tool()], memory=Memory(InMemoryStore()))
    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:

            async def run() -> None:
                await parent.run("x", session="s")

            group.start_soon(run)
            await hanging.begun.wait()
            group.cancel_scope.cancel()
    resumed = await parent.resume("s")
    assert (resumed.output, observations(resumed), hanging.ran) == ("done", ["Fine."], 1)


async def test_stop_goes_through() -> None:
    """The child says no more; what it has said is its answer, and the parent asks nothing."""
    reached = anyio.Event()
    child = agent(PacedBackend(["So far", reached.set, forever]), name="child")
    model = PacedBackend([ask()], ["done"])
    parent = agent(model, tools=[child.as_tool()])
    result = await ended(parent, reached, lambda token: token.stop())
    assert (result.status, observations(result)) == (RunStatus.stopped, ["So far"])
    assert len(model.requests) == 1
    assert (await parent.resume(result.run_id)).output == "done"


async def test_a_child_that_is_stopped_before_it_says_anything_is_gone_on_with() -> None:
    reached = anyio.Event()
    child = agent(PacedBackend([reached.set, forever], ["Fine."]), name="child")
    parent = agent(PacedBackend([ask()], ["done"]), tools=[child.as_tool()])
    result = await ended(parent, reached, lambda token: token.stop())
    assert result.status is RunStatus.stopped
    assert observations(result) == []
    resumed = await parent.resume(result.run_id)
    assert (resumed.output, observations(resumed)) == ("done", ["Fine."])


async def test_a_child_that_fails_is_told_to_the_model() -> None:
    child = agent(BackendUnavailable("the model is gone"), name="child")
    result = await agent(ask(), "done", tools=[child.as_tool()]).run("x")
    assert result.output == "done"
    (text,) = observations(result)
    assert text.startswith("Error: ")
    assert "the model is gone" in text


async def test_a_child_that_fails_in_the_middle_is_told_to_the_model() -> None:
    shop = Shop()
    child = agent(
        call("look", item="a"), BackendUnavailable("gone"), tools=shop.tools, name="child"
    )
    result = await agent(ask(), "done", tools=[child.as_tool()]).run("x")
    assert observations(result) == ["Error: child ended as failed: gone"]


def allows(request: ApprovalRequest) -> bool:
    """Allow everything."""
    return True


def denies(request: ApprovalRequest) -> bool:
    """Deny everything."""
    return False


def never(request: ApprovalRequest) -> None:
    """Leave everything to `resume`."""


# -- approvals ------------------------------------------------------------------------------------


def family(
    shop: Shop, memory: Memory | None = None, **options: Any
) -> tuple[Agent[Any], Agent[Any]]:
    child = agent(call("buy", item="a"), "Bought it.", tools=shop.tools, name="child")
    parent = agent(ask(), "done", tools=[child.as_tool()], memory=memory, **options)
    return parent, child


@pytest.mark.parametrize(("decision", "ran"), [(True, ["buy a"]), (Deny("no"), []), (False, [])])
async def test_its_approvals_are_the_parents(decision: Any, ran: list[str]) -> None:
    shop = Shop()
    parent, _ = family(shop)
    events, result = await stream(parent)
    assert result.status is RunStatus.needs_approval
    (waiting,) = result.pending_approvals
    assert (waiting.id, waiting.name, waiting.arguments) == (
        "call_1_0/call_1_0",
        "buy",
        {"item": "a"},
    )
    asked = [e for e in events if isinstance(e, ApprovalRequested)]
    assert [e.call.id for e in asked] == ["call_1_0/call_1_0"]
    assert observations(result) == []
    resumed = await parent.resume(result.run_id, approvals={"call_1_0/call_1_0": decision})
    assert (resumed.status, resumed.output, shop.ran) == (RunStatus.completed, "done", ran)
    assert observations(resumed) == ["Bought it."]


async def test_a_wrong_id_is_refused() -> None:
    parent, _ = family(Shop())
    result = await parent.run("x")
    with pytest.raises(ConfigurationError, match="call_1_0/call_1_0"):
        await parent.resume(result.run_id, approvals={"call_1_0/call_9_9": True})
    again = await parent.resume(result.run_id)
    assert [c.id for c in again.pending_approvals] == ["call_1_0/call_1_0"]


async def test_approvals_two_levels_deep() -> None:
    shop = Shop()
    parent, child = family(shop)
    top = agent(ask("parent"), "all done", tools=[parent.as_tool(name="parent")])
    result = await top.run("x")
    (waiting,) = result.pending_approvals
    assert waiting.id == "call_1_0/call_1_0/call_1_0"
    resumed = await top.resume(result.run_id, approvals={waiting.id: True})
    assert (resumed.output, shop.ran) == ("all done", ["buy a"])
    assert observations(resumed) == ["done"]
    assert child.name == "child"


@pytest.mark.parametrize("deep", [True, False])
async def test_the_parents_function_decides(deep: bool) -> None:
    asked: list[str] = []

    async def approve(request: ApprovalRequest) -> bool:
        asked.append(request.call.id)
        return True

    shop = Shop()
    parent, _ = family(shop, approve=None if deep else approve)
    top = agent(ask("parent"), "all done", tools=[parent.as_tool(name="parent")], approve=approve)
    result = await (top if deep else parent).run("x")
    assert result.ok
    assert shop.ran == ["buy a"]
    assert asked == ["call_1_0/call_1_0/call_1_0" if deep else "call_1_0/call_1_0"]


async def test_the_parents_function_is_asked_one_question_at_a_time() -> None:
    """A person has one terminal, whoever of the family asks."""
    open_questions, most = 0, 0

    async def approve(request: ApprovalRequest) -> bool:
        nonlocal open_questions, most
        open_questions += 1
        most = max(most, open_questions)
        for _ in range(50):
            await anyio.lowlevel.checkpoint()
        open_questions -= 1
        return True

    shop = Shop()
    names = ("one", "two")
    children = [
        agent(call("buy", item=name), "Fine.", tools=shop.tools, name=name) for name in names
    ]
    text = calls(call("buy", item="own"), *map(ask, names))
    tools = [*shop.tools, *(child.as_tool() for child in children)]
    with anyio.fail_after(GUARD):
        result = await agent(text, "done", tools=tools, approve=approve).run("x")
    assert (result.output, most) == ("done", 1)
    assert sorted(shop.ran) == ["buy one", "buy own", "buy two"]


async def test_the_parents_function_leaves_it_to_resume() -> None:
    shop = Shop()
    parent, _ = family(shop, approve=never)
    result = await parent.run("x")
    assert result.status is RunStatus.needs_approval
    resumed = await parent.resume(result.run_id, approvals={"call_1_0/call_1_0": True})
    assert (resumed.output, shop.ran) == ("done", ["buy a"])


async def test_its_own_function_comes_first() -> None:
    shop = Shop()
    child = agent(call("buy", item="a"), "Fine.", tools=shop.tools, name="child", approve=denies)
    parent = agent(ask(), "done", tools=[child.as_tool()], approve=allows)
    assert (await parent.run("x")).output == "done"
    assert shop.ran == []


async def test_two_children_wait_and_are_decided_one_after_the_other() -> None:
    shop = Shop()

    def script(request: Any) -> str:
        done = any(isinstance(m, ToolMessage) for m in request.messages)
        return "Bought it." if done else call("buy", item=request.messages[0].content)

    child = agent(*[script] * 9, tools=shop.tools, name="child")
    text = calls(ask(task="a"), ask(task="b"))
    parent = agent(text, "done", tools=[child.as_tool()])
    result = await parent.run("x")
    assert sorted(c.id for c in result.pending_approvals) == [
        "call_1_0/call_1_0",
        "call_1_1/call_1_0",
    ]
    half = await parent.resume(result.run_id, approvals={"call_1_1/call_1_0": True})
    assert [c.id for c in half.pending_approvals] == ["call_1_0/call_1_0"]
    assert shop.ran == ["buy b"]
    resumed = await parent.resume(result.run_id, approvals={"call_1_0/call_1_0": True})
    assert (resumed.output, shop.ran) == ("done", ["buy b", "buy a"])
    assert observations(resumed) == ["Bought it.", "Bought it."]


async def test_a_child_waits_while_the_parents_message_breaks_off() -> None:
    """The parent's call has begun: it stays, and the child is gone on with, not begun anew."""
    shop = Shop()
    child = agent(
        calls(call("look", item="a"), call("buy", item="a")),
        "Fine.",
        tools=shop.tools,
        name="child",
    )
    waits = anyio.Event()

    def approve(request: ApprovalRequest) -> None:
        waits.set()

    model = PacedBackend(
        [
            ask(),
            until(waits),
            *[anyio.lowlevel.checkpoint] * 50,
            BackendUnavailable("gone"),
        ],
        ["done"],
    )
    parent = agent(model, tools=[child.as_tool()], approve=approve)
    with anyio.fail_after(GUARD):
        result = await parent.run("x")
    assert (result.status, observations(result)) == (RunStatus.failed, [])
    approvals = {"call_1_0/call_1_1": True}
    resumed = await parent.resume(result.run_id)
    assert resumed.status is RunStatus.needs_approval
    resumed = await parent.resume(result.run_id, approvals=approvals)
    assert (resumed.output, observations(resumed)) == ("done", ["Fine."])
    assert shop.ran == ["look a", "buy a"]


PROGRAM = """
import sys
from ling_agent import Agent, Memory, tool
from ling_agent.memory import SQLiteStore
from ling_agent.testing import ScriptedBackend

@tool(requires_approval=True)
async def buy(item: str) -> str:
    \"\"\"Buy.\"\"\"
    print("bought", item)
    return f"bought {item}"

path, what = sys.argv[1:]
ask = '<tool_call>{"name": "%s", "arguments": {"task": "t"}}</tool_call>'
buys = '<tool_call>{"name": "buy", "arguments": {"item": "a"}}</tool_call>'
script = slice(0, 2) if what == "run" else slice(1, 2)
def made(name, call, tools, **more):
    return Agent(ScriptedBackend([call, name + " done"][script]), tools=tools, planning="off",
                 name=name, **more)
inner = made("inner", buys, [buy])
child = made("child", ask % "inner", [inner.as_tool()])
parent = made("parent", ask % "child", [child.as_tool()], memory=Memory(SQLiteStore(path)))
if what == "run":
    result = parent.run_sync("x", session="s")
else:
    result = parent.resume_sync("s", approvals={"call_1_0/call_1_0/call_1_0": True})
print(result.status, [c.id for c in result.pending_approvals], result.output)
"""


def test_approvals_two_levels_deep_in_another_process(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    assert run_program(file, "run") == "needs_approval ['call_1_0/call_1_0/call_1_0'] None\n"
    assert run_program(file, "go on") == "bought a\ncompleted [] parent done\n"
    names = {run.run_id for run in SQLiteStore(file).runs()}
    assert names == {"s", "s/call_1_0", "s/call_1_0/call_1_0"}


def run_program(file: Path, what: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(file), what],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- its log --------------------------------------------------------------------------------------


async def test_it_is_kept_in_the_parents_memory_under_the_calls_name() -> None:
    memory = Memory(InMemoryStore())
    child = agent("Fine.", name="child")
    parent = agent(ask(), "done", tools=[child.as_tool()], memory=memory)
    await parent.run("x", session="s")
    assert {run.run_id for run in memory.store.runs()} == {"s", "s/call_1_0"}
    assert memory.store.load("s/call_1_0").messages()[-1].content == "Fine."


async def test_it_is_kept_in_its_own_memory_where_it_has_one() -> None:
    own, memory = Memory(InMemoryStore()), Memory(InMemoryStore())
    child = agent("Fine.", name="child", memory=own)
    parent = agent(ask(), "done", tools=[child.as_tool()], memory=memory)
    await parent.run("x", session="s")
    assert {run.run_id for run in memory.store.runs()} == {"s"}
    assert {run.run_id for run in own.store.runs()} == {"s/call_1_0"}


@pytest.mark.parametrize("ending", ["complete", "half"])
async def test_a_child_that_has_worked_does_not_work_again(ending: str) -> None:
    """The process dies before the parent has the observation; cut the log to where that is."""
    memory, shop = Memory(InMemoryStore()), Shop()
    child = agent(call("look", item="a"), "Here.", "Here.", tools=shop.tools, name="child")
    parent = agent(ask(), "done", "done", tools=[child.as_tool()], memory=memory)
    await parent.run("x", session="s")
    store = InMemoryStore()
    entries = list(memory.store.load("s"))
    cut = next(i for i, e in enumerate(entries) if e.kind == "observation")
    store.append("s", entries[:cut])
    inner = list(memory.store.load("s/call_1_0"))
    if ending == "half":
        inner = inner[: next(i for i, e in enumerate(inner) if e.kind == "observation") + 1]
    store.append("s/call_1_0", inner, status="completed" if ending == "complete" else "running")
    parent = Agent(
        ScriptedBackend(["done"]),
        tools=[child.as_tool()],
        planning="off",
        memory=Memory(store),
    )
    resumed = await parent.resume("s")
    assert (resumed.output, observations(resumed)) == ("done", ["Here."])
    assert shop.ran == ["look a"]
    assert Trajectory.from_jsonl(resumed.trajectory.to_jsonl())


async def test_parallel_calls_of_one_child_are_runs_of_their_own() -> None:
    both = [anyio.Event(), anyio.Event()]

    async def meet(n: int) -> None:
        both[n].set()
        await until(both[1 - n])()

    messages: list[list[Piece]] = [[lambda: meet(0), "First."], [lambda: meet(1), "Second."]]
    child = agent(PacedBackend(*messages), name="child")
    parent = agent(calls(ask(task="a"), ask(task="b")), "done", tools=[child.as_tool()])
    events, result = await stream(parent)
    assert sorted(observations(result)) == ["First.", "Second."]
    runs = {e.run_id for e in events if isinstance(e, SubagentEvent)}
    assert runs == {f"{result.run_id}/call_1_{n}" for n in range(2)}


async def test_deps_are_handed_on() -> None:
    seen: list[Any] = []

    @tool
    async def look(ctx: RunContext[Any]) -> str:
        """Look."""
        seen.append((ctx.deps, ctx.run_id))
        return "seen"

    child = agent(call("look"), "Fine.", tools=[look], name="child")
    deps = object()
    result = await agent(ask(), "done", tools=[child.as_tool()]).run("x", deps=deps)
    assert seen == [(deps, f"{result.run_id}/call_1_0")]


class Offer(BaseModel):
    gpu: str
    price: float


async def test_a_typed_answer_is_rendered_for_the_parent() -> None:
    child = agent('{"gpu": "RTX 4090", "price": 0.4}', name="child", output_type=Offer)
    result = await agent(ask(), "done", tools=[child.as_tool()]).run("x")
    assert observations(result) == ['{"gpu":"RTX 4090","price":0.4}']


async def test_an_answer_that_is_null_is_one() -> None:
    child = agent("null", name="child", output_type=Offer | None)
    result = await agent(ask(), "done", tools=[child.as_tool()]).run("x")
    assert observations(result) == ["done (no result)"]
    assert not result.steps[0].observations[0].is_error


async def test_a_typed_answer_that_is_none_is_told() -> None:
    child = agent("no", "no", name="child", output_type=Offer)
    result = await agent(ask(), "done", tools=[child.as_tool()]).run("x")
    (text,) = observations(result)
    assert text.startswith("Error: child ended as failed")


async def test_outside_of_a_run_it_is_a_run_of_its_own() -> None:
    child = agent("Fine.", name="child")
    made = child.as_tool()
    ctx: RunContext[Any] = RunContext(None)
    with anyio.fail_after(GUARD):
        assert await made.invoke({"task": "x"}, ctx) == "Fine."


async def test_it_begins_while_the_parent_still_writes() -> None:
    worked = anyio.Event()
    child = agent(PacedBackend(["Fine.", worked.set]), name="child")
    model = PacedBackend([ask(), until(worked), " More."], ["done"])
    result = await agent(model, tools=[child.as_tool()]).run("x")
    assert observations(result) == ["Fine."]
    assert "call" in kinds(result)
