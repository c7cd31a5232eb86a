"""Calls become observations: order, concurrency, repetitions within a message, approvals."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from ling_agent import (
    Agent,
    CancelToken,
    ConfigurationError,
    Deny,
    Edit,
    Limits,
    RunContext,
    RunResult,
    RunStatus,
    tool,
)
from ling_agent.events import ApprovalRequested, ToolFinished, ToolProgress, ToolStarted
from ling_agent.testing import ScriptedBackend

from .helpers import GUARD, call, calls, kinds, observations, stream

pytestmark = pytest.mark.anyio


class Shop:
    """Tools that record what ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []

        @tool
        async def look(item: str) -> str:
            """Look at an item."""
            self.ran.append(f"look {item}")
            return f"{item} is here"

        @tool(requires_approval=True)
        async def buy(item: str) -> str:
            """Buy an item."""
            self.ran.append(f"buy {item}")
            return f"bought {item}"

        self.tools = [look, buy]

    def agent(self, *script: str) -> Agent:
        return Agent(ScriptedBackend(script), tools=self.tools, planning="off")


async def test_observations_are_in_call_order_whatever_finishes_first() -> None:
    second_done = anyio.Event()

    @tool
    async def wait(first: bool) -> str:
        """Wait."""
        if first:
            await second_done.wait()
        else:
            second_done.set()
        return f"first={first}"

    script = [calls(call("wait", first=True), call("wait", first=False)), "done"]
    agent = Agent(ScriptedBackend(script), tools=[wait], planning="off")
    events, result = await stream(agent)
    assert observations(result) == ["first=True", "first=False"]
    finished = [e.observation.call_id for e in events if isinstance(e, ToolFinished)]
    assert finished == ["call_1_1", "call_1_0"]


@pytest.mark.parametrize("bound", [1, 2, 3])
async def test_parallel_calls_are_bounded(bound: int) -> None:
    running = 0
    most = 0
    full = anyio.Event()

    @tool
    async def work(n: int) -> int:
        """Work."""
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == bound:
            full.set()
        with anyio.fail_after(GUARD):
            await full.wait()
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        running -= 1
        return n

    script = [calls(*(call("work", n=n) for n in range(7))), "done"]
    agent = Agent(ScriptedBackend(script), tools=[work], planning="off")
    result = await agent.run("x", limits=Limits(max_parallel_tools=bound))
    assert most == bound
    assert observations(result) == [str(n) for n in range(7)]


async def test_events_of_a_call_are_in_order() -> None:
    @tool
    async def count(ctx: RunContext[None], to: int) -> str:
        """Count."""
        for n in range(to):
            ctx.emit(n)
        return "counted"

    script = [call("count", to=5), "done"]
    agent = Agent(ScriptedBackend(script), tools=[count], planning="off")
    events, _ = await stream(agent)
    of_tool = [e for e in events if isinstance(e, ToolStarted | ToolProgress | ToolFinished)]
    assert isinstance(of_tool[0], ToolStarted)
    assert [e.payload for e in of_tool if isinstance(e, ToolProgress)] == list(range(5))
    assert isinstance(of_tool[-1], ToolFinished)
    assert {e.call_id for e in of_tool if isinstance(e, ToolProgress)} == {"call_1_0"}


async def test_progress_of_a_sync_tool_in_its_thread() -> None:
    @tool
    def count(ctx: RunContext[None]) -> str:
        """Count."""
        ctx.emit("half")
        return "counted"

    agent = Agent(ScriptedBackend([call("count"), "done"]), tools=[count], planning="off")
    events, _ = await stream(agent)
    assert [e.payload for e in events if isinstance(e, ToolProgress)] == ["half"]


async def test_progress_after_the_end_is_dropped() -> None:
    contexts: list[RunContext[None]] = []

    @tool
    async def keep(ctx: RunContext[None]) -> str:
        """Keep the context."""
        contexts.append(ctx)
        return "kept"

    agent = Agent(ScriptedBackend([call("keep"), "done"]), tools=[keep], planning="off")
    await stream(agent)
    contexts[0].emit("too late")


async def test_a_cancellation_keeps_finished_observations_and_marks_the_interrupted() -> None:
    started, ran = anyio.Event(), list[str]()
    token = CancelToken()

    @tool
    async def quick(n: int) -> str:
        """Be quick."""
        ran.append(f"quick {n}")
        return f"quick {n}"

    @tool
    async def slow() -> str:
        """Be slow."""
        ran.append("slow")
        started.set()
        await anyio.sleep_forever()
        return ""

    script = [calls(call("quick", n=1), call("slow"), call("quick", n=2)), "done"]
    agent = Agent(ScriptedBackend(script), tools=[quick, slow], planning="off")
    results: list[RunResult] = []

    async def run() -> None:
        results.append(await agent.run("x", cancel=token, limits=Limits(max_parallel_tools=1)))

    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await started.wait()
            token.cancel()
    (result,) = results
    assert result.status is RunStatus.cancelled
    before = observations(result)
    assert sum("interrupted" in text for text in before) == 1
    assert result.usage.tool_calls == len(ran)
    assert [o.content for o in result.steps[0].observations] == before

    resumed = await agent.resume(result.run_id)
    assert resumed.output == "done"
    assert len(observations(resumed)) == 3
    assert len(ran) == len(set(ran)), "no call ran twice"


async def test_an_interrupted_call_never_runs_again() -> None:
    started, ran = anyio.Event(), list[int]()
    token = CancelToken()

    @tool
    async def pay(n: int) -> str:
        """Pay."""
        ran.append(n)
        if len(ran) == 2:
            started.set()
        await anyio.sleep_forever()
        return ""

    script = [calls(call("pay", n=1), call("pay", n=2)), "done"]
    agent = Agent(ScriptedBackend(script), tools=[pay], planning="off")

    async def cancel() -> None:
        await started.wait()
        token.cancel()

    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            group.start_soon(cancel)
            await agent.run("x", session="s", cancel=token)
    resumed = await agent.resume("s")
    assert sorted(ran) == [1, 2]
    assert all("interrupted" in text for text in observations(resumed))


async def test_a_call_that_needs_approval_ends_the_run_and_waits() -> None:
    shop = Shop()
    agent = shop.agent(calls(call("look", item="a"), call("buy", item="a"), call("look", item="b")))
    events, result = await stream(agent)
    assert result.status is RunStatus.needs_approval
    assert [c.name for c in result.pending_approvals] == ["buy"]
    assert [e.call.name for e in events if isinstance(e, ApprovalRequested)] == ["buy"]
    assert shop.ran == ["look a"], "what comes before it runs, what comes after it waits"
    assert observations(result) == ["a is here"]


@pytest.mark.parametrize(
    ("decision", "ran", "told"),
    [
        (True, "buy a", "bought a"),
        (False, None, "declined"),
        (Deny("too expensive"), None, "too expensive"),
        (Edit({"item": "b"}), "buy b", "bought b"),
    ],
)
async def test_a_decision_resumes_the_run(
    decision: bool | Deny | Edit, ran: str | None, told: str
) -> None:
    shop = Shop()
    agent = shop.agent(
        calls(call("look", item="a"), call("buy", item="a"), call("look", item="b")), "done"
    )
    result = await agent.run("x")
    (waiting,) = result.pending_approvals
    resumed = await agent.resume(result.run_id, approvals={waiting.id: decision})
    assert (resumed.status, resumed.output) == (RunStatus.completed, "done")
    assert sorted(shop.ran) == sorted(["look a", *([ran] if ran else []), "look b"]), "each once"
    first, decided, last = observations(resumed)
    assert (first, last) == ("a is here", "b is here")
    assert told in decided
    assert "approval" in kinds(resumed)
    assert resumed.pending_approvals == ()


async def test_an_edit_is_told_to_the_model_and_checked_before_it_counts() -> None:
    shop = Shop()
    agent = shop.agent(call("buy", item="a"), "done")
    result = await agent.run("x")
    (waiting,) = result.pending_approvals
    with pytest.raises(ConfigurationError, match=r"buy does not take this: .*thing"):
        await agent.resume(result.run_id, approvals={waiting.id: Edit({"thing": "b"})})
    assert shop.ran == []
    resumed = await agent.resume(result.run_id, approvals={waiting.id: Edit({"item": "b"})})
    (text,) = observations(resumed)
    assert shop.ran == ["buy b"]
    assert '{"item": "b"}' in text


async def test_only_some_of_the_waiting_calls_are_decided() -> None:
    shop = Shop()
    agent = shop.agent(calls(call("buy", item="a"), call("buy", item="b")), "done")
    result = await agent.run("x")
    first, second = result.pending_approvals
    half = await agent.resume(result.run_id, approvals={first.id: True})
    assert half.status is RunStatus.needs_approval
    assert half.pending_approvals == (second,)
    assert shop.ran == ["buy a"]
    resumed = await agent.resume(result.run_id, approvals={second.id: True})
    assert resumed.output == "done"
    assert shop.ran == ["buy a", "buy b"], "each call once"


async def test_resuming_without_a_decision_waits_again() -> None:
    shop = Shop()
    agent = shop.agent(call("buy", item="a"))
    result = await agent.run("x")
    again = await agent.resume(result.run_id)
    assert (again.status, shop.ran) == (RunStatus.needs_approval, [])


async def test_approvals_are_checked_before_anything_runs() -> None:
    shop = Shop()
    agent = shop.agent(call("buy", item="a"))
    result = await agent.run("x")
    (waiting,) = result.pending_approvals
    with pytest.raises(ConfigurationError, match=waiting.id):
        await agent.resume(result.run_id, approvals={"call_9_9": True})
    with pytest.raises(ConfigurationError, match="give True, False, Deny"):
        await agent.resume(result.run_id, approvals={waiting.id: "no"})  # type: ignore[dict-item]
    assert shop.ran == []


async def test_an_unreadable_sibling_of_a_waiting_call_is_answered_after_it() -> None:
    shop = Shop()
    broken = '<tool_call>\n{"name": "look", "arguments": {"item": }}\n</tool_call>'
    agent = shop.agent(calls(call("buy", item="a"), broken), "done")
    result = await agent.run("x")
    assert observations(result) == []
    (waiting,) = result.pending_approvals
    resumed = await agent.resume(result.run_id, approvals={waiting.id: True})
    bought, failed = observations(resumed)
    assert bought == "bought a"
    assert failed.startswith("Error: ")


async def test_approval_may_depend_on_the_arguments() -> None:
    def dear(arguments: dict[str, float]) -> bool:
        return arguments["price"] > 10

    @tool(requires_approval=dear)
    async def pay(price: float) -> str:
        """Pay."""
        return f"paid {price:g}"

    script = [call("pay", price=5), call("pay"), call("pay", price=50)]
    agent = Agent(ScriptedBackend(script), tools=[pay], planning="off")
    result = await agent.run("x")
    assert result.status is RunStatus.needs_approval
    paid, refused = observations(result)
    assert paid == "paid 5"
    assert refused.startswith("Error: "), "arguments that do not fit never run: nobody is asked"


async def test_a_new_task_leaves_calls_that_waited() -> None:
    shop = Shop()
    agent = shop.agent(call("buy", item="a"), "Never mind.")
    await agent.run("Buy a.", session="s")
    result = await agent.run("Forget it.", session="s")
    assert (result.output, shop.ran) == ("Never mind.", [])
    roles = [type(message).__name__ for message in result.trajectory.messages()]
    assert roles[:3] == ["UserMessage", "AssistantMessage", "ToolMessage"]
    assert roles[3:] == ["UserMessage", "AssistantMessage"]


async def test_an_exclusive_tool_runs_alone() -> None:
    running = 0

    @tool(exclusive=True)
    async def alone() -> int:
        """Be alone."""
        await anyio.lowlevel.checkpoint()
        return running

    @tool
    async def beside(n: int) -> int:
        """Be beside."""
        nonlocal running
        running += 1
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        running -= 1
        return n

    texts = calls(call("beside", n=1), call("alone"), call("beside", n=2))
    agent = Agent(ScriptedBackend([texts, "done"]), tools=[alone, beside], planning="off")
    assert observations(await agent.run("x")) == ["1", "0", "2"]
