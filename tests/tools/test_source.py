"""Tool sources in an agent: opened by each run, closed whatever ends it, one listing a run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from ling_agent import (
    Agent,
    BackendUnavailable,
    CancelToken,
    ConfigurationError,
    Limits,
    RunResult,
    RunStatus,
    Tool,
    tool,
)
from ling_agent.testing import ScriptedBackend
from ling_agent.tools.source import ToolSource

from ..helpers import GUARD, StallingBackend, call, observations, stream

pytestmark = pytest.mark.anyio


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def named(name: str) -> Tool[..., Any]:
    @tool(name=name)
    async def answer() -> str:
        """Answer with the name."""
        return name

    return answer


class Source:
    """A source in this process, which counts.

    Attributes:
        names: Of the tools that the next run gets.
        opens: How many runs have it open.
        log: What happened to it.
    """

    def __init__(self, *names: str, label: str = "", log: list[str] | None = None) -> None:
        self.names = list(names)
        self.label = label
        self.opens = 0
        self.most = 0
        self.log = [] if log is None else log
        self.fails: Exception | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Sequence[Tool[..., Any]], None]:
        await anyio.lowlevel.checkpoint()
        if self.fails is not None:
            raise self.fails
        self.log.append(f"opened {self.label}".strip())
        self.opens += 1
        self.most = max(self.most, self.opens)
        try:
            async with anyio.create_task_group():  # as a connection has: it belongs to one task
                yield [named(name) for name in self.names]
        finally:
            self.opens -= 1
            self.log.append(f"closed {self.label}".strip())


def agent_with(
    *script: Any, sources: Sequence[ToolSource | Tool[..., Any]], **options: Any
) -> Agent:
    options = {"planning": "off", **options}
    return Agent(ScriptedBackend(script), tools=sources, **options)


def sent(agent: Agent) -> list[Any]:
    assert isinstance(agent.backend, ScriptedBackend)
    return agent.backend.requests


def offered(request: Any) -> list[str]:
    return [item["function"]["name"] for item in request.tools]


async def test_its_tools_are_the_runs() -> None:
    source = Source("ping", "pong")
    assert isinstance(source, ToolSource)
    agent = agent_with(call("ping"), call("add", a=1, b=2), "done", sources=[source, add])
    assert source.log == []  # making an agent opens nothing
    result = await agent.run("x")
    assert observations(result) == ["ping", "3"]
    assert [offered(request) for request in sent(agent)] == [["add", "ping", "pong"]] * 3
    assert source.log == ["opened", "closed"]


async def test_each_run_opens_it_streamed_or_not_and_in_other_threads() -> None:
    source = Source("ping")
    agent = agent_with(*[call("ping"), "done"] * 3, sources=[source])
    await agent.run("x")
    _, result = await stream(agent)
    agent.run_sync("x")
    assert observations(result) == ["ping"]
    assert source.log == ["opened", "closed"] * 3


async def test_two_sources_are_closed_in_the_opposite_order() -> None:
    log: list[str] = []
    first, second = Source("one", label="1", log=log), Source("two", label="2", log=log)
    result = await agent_with(call("one") + call("two"), "done", sources=[first, second]).run("x")
    assert observations(result) == ["one", "two"]
    assert log == ["opened 1", "opened 2", "closed 2", "closed 1"]


# -- whatever ends the run ------------------------------------------------------------------------


class OopsError(Exception):
    pass


def hook_fails(moment: Any) -> None:
    raise OopsError


async def run_to_a_limit(source: Source) -> None:
    result = await agent_with(call("ping"), sources=[source]).run("x", limits=Limits(max_steps=1))
    assert result.status is RunStatus.max_steps


async def run_that_cannot_ask(source: Source) -> None:
    with pytest.raises(BackendUnavailable):
        await agent_with(BackendUnavailable("gone"), sources=[source]).run("x")
    with pytest.raises(BackendUnavailable):
        await stream(agent_with(BackendUnavailable("gone"), sources=[source]))


async def run_that_fails_later(source: Source) -> None:
    agent = agent_with(call("ping"), BackendUnavailable("gone"), sources=[source])
    assert (await agent.run("x")).status is RunStatus.failed


async def run_whose_session_is_taken(source: Source) -> None:
    backend = StallingBackend()
    agent = Agent(backend, tools=[source])
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: agent.run("x", session="s"))
        await backend.stalled.wait()
        with pytest.raises(ConfigurationError, match="has not ended"):
            await agent.run("y", session="s")
        assert source.opens == 1
        group.cancel_scope.cancel()


async def run_that_does_not_exist(source: Source) -> None:
    with pytest.raises(Exception, match="nothing"):
        await agent_with(sources=[source]).resume("nothing")


async def run_that_is_cancelled(source: Source) -> None:
    backend, token = StallingBackend(), CancelToken()
    results: list[RunResult] = []

    async def run() -> None:
        results.append(await Agent(backend, tools=[source]).run("x", cancel=token))

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await backend.stalled.wait()
        assert source.opens == 1
        token.cancel()
    assert results[0].status is RunStatus.cancelled


async def run_that_is_cancelled_natively(source: Source) -> None:
    backend = StallingBackend()
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: Agent(backend, tools=[source]).run("x"))
        await backend.stalled.wait()
        group.cancel_scope.cancel()


async def stream_that_is_left(source: Source) -> None:
    async with Agent(StallingBackend("text"), tools=[source]).stream("x") as run:
        async for event in run:
            if type(event).__name__ == "TextDelta":
                break
    with pytest.raises(OopsError):
        async with Agent(StallingBackend("text"), tools=[source]).stream("x"):
            raise OopsError


async def run_whose_hook_fails(source: Source) -> None:
    def fails(moment: Any) -> None:
        raise OopsError

    from ling_agent.hooks import BeforeTool

    fails.__annotations__["moment"] = BeforeTool
    with pytest.raises(OopsError):
        await agent_with(call("ping"), "x", sources=[source], hooks=[fails]).run("x")


ENDINGS = [
    run_to_a_limit,
    run_that_cannot_ask,
    run_that_fails_later,
    run_whose_session_is_taken,
    run_that_does_not_exist,
    run_that_is_cancelled,
    run_that_is_cancelled_natively,
    stream_that_is_left,
    run_whose_hook_fails,
]


@pytest.mark.parametrize("ends", ENDINGS, ids=lambda ends: ends.__name__)
async def test_it_is_closed_whatever_ends_the_run(ends: Callable[[Source], Any]) -> None:
    source = Source("ping")
    with anyio.fail_after(GUARD):
        await ends(source)
    assert source.opens == 0
    assert source.log
    assert source.log.count("opened") == source.log.count("closed")


# -- what cannot work -----------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ConfigurationError("bad url"), BackendUnavailable("down")])
async def test_its_failure_to_open_is_raised_and_nothing_is_kept(error: Exception) -> None:
    log: list[str] = []
    good, bad = Source("one", label="1", log=log), Source("two", label="2", log=log)
    bad.fails = error
    agent = agent_with("done", sources=[good, bad])
    with pytest.raises(type(error), match=str(error)):
        await agent.run("x", session="s")
    with pytest.raises(type(error), match=str(error)):
        async with agent.stream("x", session="s"):
            pass
    assert log == ["opened 1", "closed 1"] * 2
    assert "s" not in agent.memory.store
    assert sent(agent) == []
    bad.fails = None
    assert (await agent.run("x", session="s")).output == "done"


async def test_one_name_for_two_tools_is_one_line() -> None:
    for clashing in ([Source("add"), add], [Source("ping"), Source("ping")]):
        agent = agent_with("done", sources=clashing)
        with pytest.raises(ConfigurationError, match=r"two tools are named '(add|ping)'") as info:
            await agent.run("x")
        assert "\n" not in str(info.value)
        assert all(item.opens == 0 for item in clashing if isinstance(item, Source))


async def test_a_source_that_breaks_while_it_is_used_ends_the_run() -> None:
    """Its own task has failed: nobody knows what its tools would do."""

    class Breaking:
        @asynccontextmanager
        async def opened(self) -> AsyncGenerator[Sequence[Tool[..., Any]], None]:
            async def breaks() -> None:
                await broken.wait()
                raise OopsError

            broken = anyio.Event()

            @tool
            async def work() -> str:
                """Work."""
                broken.set()
                await anyio.sleep_forever()
                return ""

            async with anyio.create_task_group() as group:
                group.start_soon(breaks)
                yield [work]

    agent = agent_with(call("work"), "done", sources=[Breaking()])
    with anyio.fail_after(GUARD), pytest.raises(BaseExceptionGroup) as info:
        await agent.run("x", session="s")
    assert info.group_contains(OopsError)
    agent = agent.with_options(tools=[named("work")])
    assert (await agent.resume("s")).output == "done"


async def test_a_class_in_place_of_an_object_is_no_source() -> None:
    with pytest.raises(ConfigurationError):
        await agent_with("done", sources=[Source]).run("x")  # pyright: ignore


# -- several runs ---------------------------------------------------------------------------------


async def test_concurrent_runs_have_one_each() -> None:
    source = Source("ping")
    both = anyio.Event()

    @tool
    async def meet() -> str:
        """Wait until both runs are here."""
        if source.opens == 2:
            both.set()
        await both.wait()
        return "met"

    agent = agent_with(call("meet"), call("meet"), "done", "done", sources=[source, meet])
    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            group.start_soon(agent.run, "x")
            group.start_soon(agent.run, "y")
    assert (source.most, source.opens) == (2, 0)


async def test_a_changed_listing_shows_in_the_next_run() -> None:
    source = Source("one")

    @tool
    async def change() -> str:
        """Change the listing."""
        source.names.append("two")
        return "changed"

    script = [call("change"), call("two"), "done", call("two"), "done"]
    agent = agent_with(*script, sources=[source, change])
    first = await agent.run("x", session="s")
    assert observations(first)[1].startswith("Error: ")
    second = await agent.run("y", session="s")
    assert observations(second)[2] == "two"
    assert [offered(request) for request in sent(agent)] == [
        *[["change", "one"]] * 3,
        *[["change", "one", "two"]] * 2,
    ]


async def test_a_resumed_run_opens_it_again() -> None:
    source = Source("ping")
    agent = agent_with(call("ping"), call("ping"), "done", sources=[source])
    first = await agent.run("x", limits=Limits(max_steps=1))
    assert source.log == ["opened", "closed"]
    assert (await agent.resume(first.run_id)).output == "done"
    assert source.log == ["opened", "closed"] * 2


async def test_a_call_that_waits_for_approval_is_made_on_the_new_connection() -> None:
    ran: list[int] = []

    class Shop:
        opened_times = 0

        @asynccontextmanager
        async def opened(self) -> AsyncGenerator[Sequence[Tool[..., Any]], None]:
            self.opened_times += 1
            connection = self.opened_times

            @tool(requires_approval=True)
            async def buy() -> str:
                """Buy."""
                ran.append(connection)
                return "bought"

            yield [buy]

    agent = agent_with(call("buy"), "done", sources=[Shop()])
    first = await agent.run("x")
    assert first.status is RunStatus.needs_approval
    id_ = first.pending_approvals[0].id
    assert (await agent.resume(first.run_id, approvals={id_: True})).output == "done"
    assert ran == [2]


async def test_a_tool_that_is_gone_when_the_run_goes_on() -> None:
    source = Source("ping")
    agent = agent_with(call("ping"), call("ping"), "done", sources=[source])
    first = await agent.run("x", limits=Limits(max_steps=1))
    source.names[:] = ["pong"]
    again = await agent.resume(first.run_id)
    assert observations(again)[-1].startswith("Error: ")
    assert "pong" in observations(again)[-1]
    assert again.output == "done"


async def test_a_sub_agents_source_is_open_while_it_works() -> None:
    source = Source("ping")
    inner = Agent(
        ScriptedBackend([call("ping"), "pinged"]), tools=[source], planning="off", name="inner"
    )
    agent = agent_with(call("inner", task="x"), "done", sources=[inner.as_tool()])
    result = await agent.run("x")
    assert observations(result) == ["pinged"]
    assert source.log == ["opened", "closed"]


async def test_a_sub_agents_source_that_fails_is_told_to_the_model() -> None:
    source = Source("ping")
    source.fails = BackendUnavailable("the server is down")
    inner = Agent(ScriptedBackend([]), tools=[source], name="inner")
    agent = agent_with(call("inner", task="x"), "done", sources=[inner.as_tool()])
    result = await agent.run("x")
    assert "the server is down" in observations(result)[0]
    assert result.output == "done"


# -- planning and notes ---------------------------------------------------------------------------


@pytest.mark.parametrize("planning", ["inline", "explicit"])
async def test_the_model_plans_also_when_all_tools_come_from_sources(planning: Any) -> None:
    from ling_agent.planning import HINTS

    for source, told in ((Source("ping"), HINTS[planning]), (Source(), "")):
        agent = agent_with("Plan: none\n\ndone", "done", sources=[source], planning=planning)
        await agent.run("x")
        assert sent(agent)[0].messages[0].content == f"x{told}"


class Picky(ScriptedBackend):
    """A backend that cannot do something for tools whose names begin with p."""

    def tool_notes(self, tools: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
        names = [item["function"]["name"] for item in tools]
        return tuple(f"{name} is called without a grammar" for name in names if name[0] == "p")


async def test_what_the_backend_cannot_do_for_its_tools_is_a_note_of_the_run() -> None:
    agent = Agent(Picky(["done"]), tools=[Source("ping", "call"), add], planning="off")
    result = await agent.run("x")
    assert result.notes == ("ping is called without a grammar",)


class Held(Source):
    """A source that can be kept open: runs then share what it has."""

    def __init__(self, *names: str) -> None:
        super().__init__(*names)
        self.entered = 0

    async def __aenter__(self) -> Held:
        self.entered += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self.entered -= 1


async def test_connected_keeps_open_what_can_be_kept_open() -> None:
    one, other = Held("ping"), Source("pong")
    agent = agent_with(call("ping"), "done", call("pong"), "done", sources=[one, other, add])
    assert agent.sources == (one, other)
    async with agent.connected() as same:
        assert same is agent
        assert one.entered == 1
        await agent.run("x")
        assert observations(await agent.run("y")) == ["pong"]
    assert one.entered == 0
    assert other.log == ["opened", "closed"] * 2
    with pytest.raises(OopsError):
        async with agent.connected():
            raise OopsError
    assert one.entered == 0
