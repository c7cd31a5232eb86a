"""`Agent`: configuration, sessions, resume, agents as tools."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from ling_agent import (
    Agent,
    BackendUnavailable,
    CancelToken,
    ConfigurationError,
    Limits,
    Memory,
    RunContext,
    RunResult,
    RunStatus,
    Sampling,
    StoreError,
    tool,
)
from ling_agent.backends import ModelRequest
from ling_agent.memory import InMemoryStore
from ling_agent.messages import SystemMessage, ToolMessage
from ling_agent.testing import ScriptedBackend

from .helpers import GUARD, StallingBackend, call, observations
from .paced import PacedBackend, forever

anyio_only = pytest.mark.anyio


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def agent_with(*script: str) -> Agent:
    return Agent(ScriptedBackend(script), tools=[add], planning="off")


class TestConfiguration:
    def test_none_stands_for_the_default(self) -> None:
        agent = Agent(ScriptedBackend([]), memory=None, limits=None, sampling=None, profile=None)
        assert (agent.limits, agent.sampling) == (Limits(), Sampling())
        assert isinstance(agent.memory.store, InMemoryStore)

    def test_it_is_immutable_and_can_be_replaced(self) -> None:
        agent = agent_with()
        with pytest.raises(dataclasses.FrozenInstanceError):
            agent.name = "other"  # type: ignore[misc]
        other = dataclasses.replace(agent, name="other", planning="explicit")
        assert (other.name, other.planning, other.tools) == ("other", "explicit", agent.tools)
        assert agent.name == "agent"

    def test_two_tools_with_one_name_are_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="add"):
            Agent(ScriptedBackend([]), tools=[add, add])

    def test_a_tool_without_annotations_is_refused(self) -> None:
        def bare(x):  # type: ignore[no-untyped-def]  # pyright: ignore
            """Do."""

        with pytest.raises(ConfigurationError, match="bare"):
            Agent(ScriptedBackend([]), tools=[bare])  # pyright: ignore

    @pytest.mark.parametrize("name", ["memory", "limits", "sampling", "tracing", "approve"])
    def test_an_argument_of_another_type_is_refused(self, name: str) -> None:
        values: dict[str, Any] = {name: {"max_steps": 3}}
        with pytest.raises(ConfigurationError, match=f"{name}=.*: give a"):
            Agent(ScriptedBackend([]), **values)

    def test_an_output_type_without_a_json_form_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="output_type"):
            Agent(ScriptedBackend([]), output_type=print)  # type: ignore[arg-type]

    @anyio_only
    async def test_tools_may_come_from_a_generator(self) -> None:
        def tools() -> Iterator[object]:
            yield add

        script = ScriptedBackend([call("add", a=1, b=2), "3"])
        result = await Agent(script, tools=tools()).run("x")  # type: ignore[arg-type]
        assert observations(result) == ["3"]

    def test_a_single_tool_is_no_list_of_tools(self) -> None:
        with pytest.raises(ConfigurationError, match="tools: give a list"):
            Agent(ScriptedBackend([]), tools=add)  # type: ignore[arg-type]

    def test_a_backend_object_has_its_own_profile(self) -> None:
        with pytest.raises(ConfigurationError, match="Backend object"):
            Agent(ScriptedBackend([]), profile="ling2")

    def test_nothing_is_loaded_before_the_first_run(self) -> None:
        agent = Agent("llamacpp:no-such-alias-or-file")
        assert agent.backend == "llamacpp:no-such-alias-or-file"


@anyio_only
class TestSessions:
    async def test_a_session_is_one_conversation(self) -> None:
        backend = ScriptedBackend(["Hello Ada.", "Ada."])
        agent = Agent(backend, instructions="Be brief.")
        first = await agent.run("I am Ada.", session="s")
        second = await agent.run("Who am I?", session="s")
        texts = [m.content for m in backend.requests[1].messages]
        assert texts == ["Be brief.", "I am Ada.", "Hello Ada.", "Who am I?"]
        assert (first.run_id, second.run_id) == ("s", "s")
        assert len(second.steps) == 1, "the second run's own step"

    async def test_call_ids_are_unique_in_the_whole_session(self) -> None:
        agent = agent_with(call("add", a=1, b=1), "2", call("add", a=1, b=1), "2")
        await agent.run("x", session="s")
        result = await agent.run("x", session="s")
        messages = result.trajectory.messages()
        ids = [m.call_id for m in messages if isinstance(m, ToolMessage)]
        assert len(ids) == len(set(ids)) == 2

    async def test_a_result_does_not_change_when_its_session_goes_on(self) -> None:
        agent = agent_with("one", "two")
        first = await agent.run("x", session="s")
        before = first.trajectory.to_jsonl()
        await agent.run("y", session="s")
        assert first.trajectory.to_jsonl() == before

    async def test_sessions_and_runs_are_apart(self) -> None:
        backend = ScriptedBackend(["a", "b", "c"])
        agent = Agent(backend)
        await agent.run("x", session="s")
        await agent.run("y", session="t")
        await agent.run("z")
        assert [len(request.messages) for request in backend.requests] == [1, 1, 1]

    async def test_a_limit_in_a_session_does_not_end_the_session(self) -> None:
        agent = agent_with(call("add", a=1, b=1), "fine")
        limited = await agent.run("x", session="s", limits=Limits(max_steps=1))
        assert limited.status is RunStatus.max_steps
        assert (await agent.run("go on", session="s")).output == "fine"

    async def test_a_session_takes_one_run_at_a_time(self) -> None:
        backend = StallingBackend()
        agent = Agent(backend, memory=Memory())
        other = Agent(ScriptedBackend(["a", "b"]), memory=agent.memory)
        with anyio.fail_after(GUARD):
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: agent.run("x", session="s"))
                await backend.stalled.wait()
                with pytest.raises(ConfigurationError, match="'s' has not ended"):
                    await other.run("y", session="s")
                with pytest.raises(ConfigurationError, match="'s' has not ended"):
                    async with other.stream("y", session="s"):
                        pytest.fail("not reached")
                assert (await other.run("y", session="t")).ok
                group.cancel_scope.cancel()
        result = await other.run("y", session="s")
        assert result.ok, "a cancelled run lets go of its session"
        assert [m.content for m in result.trajectory.messages()][-1] == "b"

    async def test_a_defect_does_not_make_it_forget_the_calls_that_were_made(self) -> None:
        script = [call("add", a=1, b=1), RuntimeError("a defect"), "2"]
        agent = Agent(ScriptedBackend(script), tools=[add], planning="off")
        with pytest.raises(RuntimeError, match="a defect"):
            await agent.run("x", session="s")
        resumed = await agent.resume("s")
        assert (resumed.output, observations(resumed)) == ("2", ["2"])

    async def test_a_run_that_raises_leaves_its_session_as_it_was(self) -> None:
        agent = Agent(ScriptedBackend([BackendUnavailable("gone"), "a"]))
        with pytest.raises(BackendUnavailable):
            await agent.run("x", session="s")
        result = await agent.run("y", session="s")
        assert len(result.trajectory.messages()) == 2


@anyio_only
class TestResume:
    async def test_two_at_once_do_not_run_a_call_twice(self) -> None:
        started, go, bought = anyio.Event(), anyio.Event(), list[int]()

        @tool(requires_approval=True)
        async def buy(item: int) -> str:
            """Buy."""
            started.set()
            await go.wait()
            bought.append(item)
            return "bought"

        agent = Agent(ScriptedBackend([call("buy", item=7), "done"]), tools=[buy], planning="off")
        run_id = (await agent.run("x")).run_id
        with anyio.fail_after(GUARD):
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: agent.resume(run_id, approvals={"call_1_0": True}))
                await started.wait()
                with pytest.raises(ConfigurationError, match="has not ended"):
                    await agent.resume(run_id, approvals={"call_1_0": True})
                go.set()
        assert bought == [7]

    async def test_an_unknown_run_is_refused(self) -> None:
        with pytest.raises(StoreError, match="'nope' is not kept"):
            await agent_with().resume("nope")

    async def test_a_completed_run_is_refused(self) -> None:
        agent = agent_with("a")
        result = await agent.run("x")
        with pytest.raises(ConfigurationError, match="has completed"):
            await agent.resume(result.run_id)

    async def test_a_run_can_be_resumed_again_and_again(self) -> None:
        agent = agent_with(*(call("add", a=n, b=n) for n in range(3)), "done")
        one = Limits(max_steps=1)
        result = await agent.run("x", limits=one)
        for _ in range(2):
            result = await agent.resume(result.run_id, limits=one)
            assert result.status is RunStatus.max_steps
        result = await agent.resume(result.run_id, limits=one)
        assert (result.output, observations(result)) == ("done", ["0", "2", "4"])

    async def test_the_earlier_result_stays_as_it_is(self) -> None:
        agent = agent_with(call("add", a=1, b=1), "2")
        result = await agent.run("x", limits=Limits(max_steps=1))
        before = result.trajectory.to_jsonl()
        resumed = await agent.resume(result.run_id)
        assert result.trajectory.to_jsonl() == before
        assert len(resumed.trajectory) > len(result.trajectory)

    async def test_deps_are_given_anew(self) -> None:
        @tool
        async def look(ctx: RunContext[str]) -> str:
            """Look."""
            return ctx.deps

        agent = Agent(ScriptedBackend([call("look"), "a"]), tools=[look], planning="off")
        result = await agent.run("x", deps="old", limits=Limits(max_tool_calls=0))
        assert result.status is RunStatus.max_tool_calls
        assert observations(await agent.resume(result.run_id, deps="new")) == ["new"]

    async def test_a_session_needs_a_name(self) -> None:
        with pytest.raises(ConfigurationError, match="session is empty"):
            await Agent(ScriptedBackend([])).run("x", session="")

    async def test_the_store_keeps_the_newest_runs(self) -> None:
        memory = Memory(InMemoryStore(keep=2))
        agent = Agent(ScriptedBackend(["a", "b", "c"]), memory=memory)
        first = await agent.run("x")
        await agent.run("y")
        await agent.run("z")
        with pytest.raises(StoreError):
            await agent.resume(first.run_id)


@anyio_only
class TestAsTool:
    async def test_its_answer_is_the_observation(self) -> None:
        inner = dataclasses.replace(agent_with("The sum is 3."), name="adder")
        outer = Agent(
            ScriptedBackend([call("adder", task="1 + 2?"), "3"]),
            tools=[inner.as_tool()],
            planning="off",
        )
        result = await outer.run("x")
        assert (result.output, observations(result)) == ("3", ["The sum is 3."])

    async def test_its_name_and_description(self) -> None:
        made = agent_with().as_tool(name="helper", description="Helps.")
        assert (made.name, made.description) == ("helper", "Helps.")
        assert list(made.parameters["properties"]) == ["task"]

    async def test_it_works_with_the_deps_of_the_other(self) -> None:
        @tool
        async def look(ctx: RunContext[str]) -> str:
            """Look."""
            return ctx.deps

        inner_backend = ScriptedBackend([call("look"), "seen"])
        inner = Agent(inner_backend, tools=[look], planning="off", name="inner")
        outer = Agent(ScriptedBackend([call("inner", task="x"), "a"]), tools=[inner.as_tool()])
        await outer.run("x", deps="mine")
        assert inner_backend.requests[1].messages[-1].content == "mine"

    async def test_a_run_that_does_not_complete_is_an_error_with_its_status(self) -> None:
        inner = agent_with(call("add", a=1, b=1))
        inner = dataclasses.replace(inner, name="inner", limits=Limits(max_steps=1))
        outer = Agent(ScriptedBackend([call("inner", task="x"), "a"]), tools=[inner.as_tool()])
        (text,) = observations(await outer.run("x"))
        assert text == "Error: inner ended as max_steps"

    async def test_a_run_that_failed_says_why(self) -> None:
        script = [call("add", a=1, b=1), BackendUnavailable("the model is gone")]
        inner = Agent(ScriptedBackend(script), tools=[add], name="inner")
        outer = Agent(ScriptedBackend([call("inner", task="x"), "a"]), tools=[inner.as_tool()])
        (text,) = observations(await outer.run("x"))
        assert text == "Error: inner ended as failed: the model is gone"

    async def test_cancelling_the_outer_run_cancels_it_and_resuming_goes_on_with_it(self) -> None:
        stalled, token = anyio.Event(), CancelToken()
        backend = PacedBackend([stalled.set, forever], ["b"])
        inner = Agent(backend, name="inner")
        outer = Agent(ScriptedBackend([call("inner", task="x"), "a"]), tools=[inner.as_tool()])
        results: list[RunResult] = []

        async def run() -> None:
            results.append(await outer.run("x", cancel=token))

        with anyio.fail_after(GUARD):
            async with anyio.create_task_group() as group:
                group.start_soon(run)
                await stalled.wait()
                token.cancel()
        assert results[0].status is RunStatus.cancelled
        assert backend.left == 1
        resumed = await outer.resume(results[0].run_id)
        assert (resumed.output, observations(resumed)) == ("a", ["b"])


@anyio_only
async def test_an_agent_may_run_many_times_at_once() -> None:
    def echo(request: ModelRequest) -> str:
        return request.messages[-1].content

    backend = ScriptedBackend([echo] * 20)
    agent = Agent(backend, planning="off")
    outputs: dict[str, str | None] = {}

    async def run(task: str) -> None:
        outputs[task] = (await agent.run(task)).output

    async with anyio.create_task_group() as group:
        for n in range(20):
            group.start_soon(run, f"task {n}")
    assert outputs == {f"task {n}": f"task {n}" for n in range(20)}


@anyio_only
@pytest.mark.parametrize("task", ["", " \n", None, 5])
async def test_a_task_that_is_none_is_refused(task: Any) -> None:
    with pytest.raises(ConfigurationError, match="the task is empty"):
        await agent_with("a").run(task)


@anyio_only
async def test_instructions_come_first() -> None:
    backend = ScriptedBackend(["a"])
    await Agent(backend, instructions="Be brief.").run("x")
    assert backend.requests[0].messages[0] == SystemMessage("Be brief.")
