"""`RunContext`: injection, dependencies, events from the loop and from threads."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import pytest

from ling_agent.messages import ToolCall
from ling_agent.results import Usage
from ling_agent.tools import RunContext, Tool, Toolset, execute_call, execute_calls, tool

pytestmark = pytest.mark.anyio


@dataclasses.dataclass
class Deps:
    stock: int


async def test_the_context_is_filled_in_wherever_it_stands() -> None:
    @tool
    def first(ctx: RunContext[Deps], n: int) -> str:
        return f"{ctx.deps.stock} {n} {ctx.run_id} {ctx.step} {ctx.call_id} {ctx.usage.requests}"

    @tool
    async def last(n: int, *, ctx: RunContext[Deps] | None = None) -> str:
        assert ctx is not None
        return f"{ctx.deps.stock} {n}"

    @tool
    def by_position(ctx: RunContext[Deps], n: int, /) -> str:
        return f"{ctx.deps.stock} {n}"

    ctx = RunContext(Deps(7), run_id="r", step=2, usage=Usage(requests=3))
    assert (await execute_call(first, "c", {"n": 1}, ctx)).text == "7 1 r 2 c 3"
    assert (await execute_call(last, "c", {"n": 1}, ctx)).text == "7 1"
    assert (await execute_call(by_position, "c", {"n": 1}, ctx)).text == "7 1"


async def test_a_raw_schema_handler_gets_it_too() -> None:
    def handler(ctx: RunContext[Deps], **arguments: Any) -> str:
        return f"{ctx.deps.stock} {arguments}"

    made = Tool.from_schema("raw", "", {"type": "object"}, handler)
    outcome = await execute_call(made, "c", {"a": 1}, RunContext(Deps(7)))
    assert outcome.text == "7 {'a': 1}"


def test_a_tool_with_a_context_can_be_unit_tested() -> None:
    @tool
    def f(ctx: RunContext[Deps], n: int) -> int:
        ctx.emit("nobody listens")
        return ctx.deps.stock + n

    ctx = RunContext(deps=Deps(1))
    assert f(ctx, 2) == 3
    assert ctx.usage == Usage()
    assert not ctx.cancelled


async def test_events_from_the_loop_and_from_threads_arrive_in_the_loops_thread() -> None:
    seen: list[tuple[str, object, bool]] = []

    def sink(call_id: str, event: object) -> None:
        seen.append((call_id, event, threading.current_thread() is threading.main_thread()))

    @tool
    async def in_loop(ctx: RunContext[None]) -> None:
        ctx.emit("loop")

    @tool
    def in_thread(ctx: RunContext[None]) -> None:
        ctx.emit("thread 1")
        ctx.emit("thread 2")

    @tool
    def in_own_thread(ctx: RunContext[None]) -> None:
        own = threading.Thread(target=ctx.emit, args=("own thread",))
        own.start()
        own.join()

    tools = Toolset([in_loop, in_thread, in_own_thread])
    calls = [ToolCall(name, name, {}) for name in tools.names]
    outcomes = await execute_calls(tools, calls, RunContext(None, sink=sink))
    assert [outcome.text for outcome in outcomes] == ["done (no result)"] * 3
    assert sorted(seen) == [
        ("in_loop", "loop", True),
        ("in_own_thread", "own thread", True),
        ("in_thread", "thread 1", True),
        ("in_thread", "thread 2", True),
    ]


async def test_nothing_is_emitted_after_cancellation() -> None:
    seen: list[object] = []
    ctx = RunContext(None, sink=lambda _, event: seen.append(event)).for_call("c")
    ctx.emit(1)
    ctx.cancel()
    ctx.emit(2)
    assert (seen, ctx.cancelled) == ([1], True)


async def test_texts_are_pinned_from_the_loop_and_from_a_thread() -> None:
    seen: list[tuple[str, bool]] = []

    @tool
    async def in_loop(ctx: RunContext[None]) -> None:
        ctx.pin("loop")

    @tool
    def in_thread(ctx: RunContext[None]) -> None:
        ctx.pin("thread")

    def pins(text: str) -> None:
        seen.append((text, threading.current_thread() is threading.main_thread()))

    tools = Toolset([in_loop, in_thread])
    calls = [ToolCall(name, name, {}) for name in tools.names]
    await execute_calls(tools, calls, RunContext(None, pins=pins))
    assert sorted(seen) == [("loop", True), ("thread", True)]
    RunContext(None).pin("nobody keeps it")


async def test_calls_do_not_share_the_cancelled_flag() -> None:
    run = RunContext(None)
    one, two = run.for_call("1"), run.for_call("2")
    one.cancel()
    assert (run.cancelled, two.cancelled) == (False, False)
