"""`Agent`: configuration, run_sync, sessions, resume, errors of the reader, agents as tools."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import dataclasses

import anyio
import anyio.to_thread
import pytest
import trio

from ling_agent import (
    Agent,
    BackendUnavailable,
    ConfigurationError,
    Limits,
    Memory,
    RunContext,
    RunStatus,
    Sampling,
    StoreError,
    tool,
)
from ling_agent.backends import ModelRequest
from ling_agent.memory import InMemoryStore
from ling_agent.messages import SystemMessage, ToolMessage
from ling_agent.testing import ScriptedBackend

from .helpers import call, observations

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

    def test_another_output_type_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="output_type"):
            Agent(ScriptedBackend([]), output_type=int)  # type: ignore[arg-type]

    def test_a_backend_object_has_its_own_profile(self) -> None:
        with pytest.raises(ConfigurationError, match="Backend object"):
            Agent(ScriptedBackend([]), profile="ling2")

    def test_nothing_is_loaded_before_the_first_run(self) -> None:
        agent = Agent("llamacpp:no-such-alias-or-file")
        assert agent.backend == "llamacpp:no-such-alias-or-file"


class TestRunSync:
    def test_without_a_loop(self) -> None:
        assert agent_with("a").run_sync("x").output == "a"

    def test_inside_a_running_asyncio_loop(self) -> None:
        async def main() -> str | None:
            return agent_with(call("add", a=1, b=1), "2").run_sync("x").output

        assert asyncio.run(main()) == "2"
        assert anyio.run(main) == "2"

    def test_inside_a_running_trio_loop(self) -> None:
        async def main() -> str | None:
            return agent_with(call("add", a=1, b=1), "2").run_sync("x").output

        assert trio.run(main) == "2"
        assert anyio.run(main, backend="trio") == "2"

    def test_in_a_worker_thread(self) -> None:
        async def main() -> str | None:
            result = await anyio.to_thread.run_sync(lambda: agent_with("a").run_sync("x"))
            return result.output

        assert anyio.run(main) == "a"

    def test_context_variables_reach_the_tools(self) -> None:
        variable = contextvars.ContextVar("variable", default="unset")
        seen: list[str] = []

        @tool
        async def look() -> str:
            """Look."""
            seen.append(variable.get())
            return ""

        def run() -> None:
            Agent(ScriptedBackend([call("look"), "a"]), tools=[look]).run_sync("x")

        async def main() -> None:
            run()

        variable.set("set")
        run()
        asyncio.run(main())
        assert seen == ["set", "set"]

    def test_errors_are_raised_as_they_are(self) -> None:
        async def main() -> None:
            Agent(ScriptedBackend([BackendUnavailable("gone")])).run_sync("x")

        with pytest.raises(BackendUnavailable, match="gone"):
            Agent(ScriptedBackend([BackendUnavailable("gone")])).run_sync("x")
        with pytest.raises(BackendUnavailable, match="gone"):
            asyncio.run(main())

    def test_ctrl_c_cancels_the_tools_and_is_raised(self) -> None:
        import os
        import signal

        ended: list[str] = []

        @tool
        async def hang() -> str:
            """Hang."""
            os.kill(os.getpid(), signal.SIGINT)
            try:
                await anyio.sleep_forever()
            finally:
                ended.append("cancelled")
            return ""

        def run() -> None:
            Agent(ScriptedBackend([call("hang"), "a"]), tools=[hang]).run_sync("x")

        async def main() -> None:
            run()

        with pytest.raises(KeyboardInterrupt):
            run()
        loop = asyncio.new_event_loop()  # one that leaves Ctrl-C to Python, as Jupyter's does
        with contextlib.closing(loop), pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(main())
        assert ended == ["cancelled"] * 2


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


@anyio_only
class TestResume:
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

    async def test_the_store_keeps_the_newest_runs(self) -> None:
        memory = Memory(InMemoryStore(keep=2))
        agent = Agent(ScriptedBackend(["a", "b", "c"]), memory=memory)
        first = await agent.run("x")
        await agent.run("y")
        await agent.run("z")
        with pytest.raises(StoreError):
            await agent.resume(first.run_id)


@anyio_only
class TestStream:
    async def read_and_raise(self, error: Exception) -> None:
        async with agent_with("a").stream("x") as run:
            async for _ in run:
                raise error

    async def test_an_exception_of_the_reader_is_raised_as_it_is(self) -> None:
        error = LookupError("mine")
        with pytest.raises(LookupError) as caught:
            await self.read_and_raise(error)
        assert caught.value is error

    async def test_also_an_exception_group(self) -> None:
        error = ExceptionGroup("mine", [LookupError("inner")])
        with pytest.raises(ExceptionGroup) as caught:
            await self.read_and_raise(error)
        assert caught.value is error

    async def test_there_is_no_result_before_the_end(self) -> None:
        async with agent_with("a").stream("x") as run:
            with pytest.raises(ConfigurationError, match="has not ended"):
                _ = run.result
            async for _ in run:
                pass
            assert run.result.output == "a"

    async def test_the_result_of_a_run_that_failed_is_its_error(self) -> None:
        agent = Agent(ScriptedBackend([BackendUnavailable("gone")]))
        async with agent.stream("x") as run:
            with pytest.raises(BackendUnavailable):
                [event async for event in run]
            with pytest.raises(BackendUnavailable):
                _ = run.result

    async def test_reading_on_after_the_end_gives_nothing(self) -> None:
        async with agent_with("a").stream("x") as run:
            assert [event async for event in run]
            assert [event async for event in run] == []
        assert [event async for event in run] == []

    async def test_an_empty_task_is_refused_on_entry(self) -> None:
        with pytest.raises(ConfigurationError, match="task is empty"):
            async with agent_with("a").stream(" "):
                pytest.fail("not reached")


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
        assert text.startswith("Error: ")
        assert "max_steps" in text


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
async def test_instructions_come_first() -> None:
    backend = ScriptedBackend(["a"])
    await Agent(backend, instructions="Be brief.").run("x")
    assert backend.requests[0].messages[0] == SystemMessage("Be brief.")
