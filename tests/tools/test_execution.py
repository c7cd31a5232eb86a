"""Calls as they run: order, concurrency, timeouts, retries, cancellation, failures."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from collections.abc import Awaitable
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from ling_agent.errors import ToolError
from ling_agent.messages import ToolCall
from ling_agent.tools import (
    RunContext,
    Tool,
    ToolOutcome,
    Toolset,
    execute_call,
    execute_calls,
    tool,
)

pytestmark = pytest.mark.anyio

PATIENCE = 10.0  # seconds that a healthy test never needs


async def call(made: Tool[..., Any], /, **arguments: Any) -> ToolOutcome:
    return await execute_call(made, "c1", arguments, RunContext(None))


def returning(value: object) -> Tool[..., object]:
    @tool(name="given")
    def given() -> object:
        return value

    return given


def raising(error: BaseException, **options: Any) -> Tool[..., None]:
    @tool(name="broken", **options)
    def broken() -> None:
        raise error

    return broken


async def test_sync_tools_run_in_a_thread_and_async_tools_in_the_loop() -> None:
    @tool
    def sync_tool() -> bool:
        return threading.current_thread() is threading.main_thread()

    @tool
    async def async_tool() -> bool:
        return threading.current_thread() is threading.main_thread()

    assert (await call(sync_tool)).value is False
    assert (await call(async_tool)).value is True


async def test_an_awaitable_from_a_sync_function_is_awaited() -> None:
    async def later(n: int) -> int:
        return n + 1

    @tool
    def f(n: int) -> Awaitable[int]:
        return later(n)

    assert (await call(f, n=1)).text == "2"


async def test_the_outcome_of_a_good_call() -> None:
    @tool
    def double(n: int) -> dict[str, int]:
        return {"n": 2 * n}

    outcome = await call(double, n="4")
    assert (outcome.call_id, outcome.name, outcome.text) == ("c1", "double", '{"n":8}')
    assert (outcome.is_error, outcome.value, outcome.attempts) == (False, {"n": 8}, 1)
    assert outcome.notes == ('n: "4" (string) was read as an integer: 4',)
    assert outcome.seconds >= 0


async def test_arguments_that_do_not_fit_never_reach_the_function() -> None:
    called: list[int] = []

    @tool
    def f(n: int) -> None:
        called.append(n)

    outcome = await call(f, n="three")
    assert outcome.text == (
        "Error: the arguments do not fit tool 'f':\n"
        '- n: expected an integer, got "three" (string)'
    )
    assert (outcome.is_error, outcome.attempts, called) == (True, 0, [])


async def test_an_exception_is_told_with_type_and_message() -> None:
    outcome = await call(raising(ValueError("stock is empty")))
    assert outcome.text == "Error: ValueError: stock is empty"
    assert (outcome.is_error, outcome.value, outcome.attempts) == (True, None, 1)


async def test_a_tool_error_speaks_for_itself() -> None:
    outcome = await call(raising(ToolError("Ask for a smaller range."), retries=3))
    assert (outcome.text, outcome.attempts) == ("Error: Ask for a smaller range.", 1)


async def test_a_tool_that_exits_does_not_take_the_program_along() -> None:
    assert (await call(raising(SystemExit(2)))).text == "Error: SystemExit: 2"


async def test_a_result_without_a_text_form() -> None:
    class Foo: ...

    @tool
    def f() -> Foo:
        return Foo()

    outcome = await call(f)
    assert outcome.is_error
    assert outcome.text == (
        "Error: tool 'f' returned a Foo, which has no text form: return str, a dict, a dataclass "
        "or a pydantic model"
    )


async def test_an_integer_that_python_does_not_write_out_is_told() -> None:
    for value in (10**5_000, [{"n": -(10**5_000)}], {10**5_000: 1}):
        outcome = await call(returning(value))
        assert outcome.is_error
        assert "return" in outcome.text
        assert "str" in outcome.text
    largest = 10**4_299
    assert (await call(returning(largest))).text == str(largest)


async def test_results_are_cut_at_the_tools_limit_or_else_the_runs() -> None:
    def numbers() -> list[int]:
        return list(range(1_000))

    def count(text: str) -> int:
        return len(text.split(","))

    own = tool(numbers, max_result_tokens=10)
    outcome = await execute_call(
        own, "c", {}, RunContext(None), count_tokens=count, max_result_tokens=20
    )
    assert outcome.text.startswith("[0,1,2,")
    assert count(outcome.text) <= 10
    assert isinstance(outcome.value, list)
    outcome = await execute_call(
        tool(numbers), "c", {}, RunContext(None), count_tokens=count, max_result_tokens=20
    )
    assert 10 < count(outcome.text) <= 20


async def test_an_async_tool_that_is_too_slow_is_stopped() -> None:
    stopped: list[bool] = []

    @tool(timeout=0.05)
    async def slow(ctx: RunContext[None]) -> None:
        try:
            await anyio.sleep(PATIENCE)
        finally:
            stopped.append(True)

    outcome = await call(slow)
    assert outcome.text == "Error: tool 'slow' took longer than 0.05 s and was stopped"
    assert stopped == [True]
    assert outcome.seconds < PATIENCE / 2


async def test_a_thread_that_is_too_slow_is_abandoned_and_told_to_stop() -> None:
    saw_it = threading.Event()
    give_up = threading.Event()

    @tool(timeout=0.05, retries=5)
    def slow(ctx: RunContext[None]) -> None:
        while not ctx.cancelled and not give_up.wait(0.005):
            pass
        if ctx.cancelled:
            saw_it.set()

    outcome = await call(slow)
    assert outcome.text == (
        "Error: tool 'slow' took longer than 0.05 s and was abandoned; it may still be running"
    )
    assert outcome.attempts == 1  # not idempotent: a timeout is not tried again
    try:
        assert await anyio.to_thread.run_sync(saw_it.wait, PATIENCE)
    finally:
        give_up.set()


def test_a_hanging_thread_does_not_keep_the_program_from_ending(anyio_backend: str) -> None:
    program = f"""
import time, anyio
from ling_agent import RunContext, tool
from ling_agent.tools import execute_call

@tool(timeout=0.1)
def hang() -> None:
    time.sleep(60)

print(anyio.run(execute_call, hang, "c1", {{}}, RunContext(None), backend={anyio_backend!r}).text)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], timeout=30, capture_output=True, text=True, check=True
    )
    assert "took longer than 0.1 s and was abandoned" in done.stdout
    assert done.stderr == ""


async def test_a_thread_has_the_callers_context_but_no_event_loop() -> None:
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request")
    request.set("r1")

    @tool
    def nested() -> str:
        async def inside() -> str:
            return request.get()

        return anyio.run(inside)

    assert (await call(nested)).text == "r1"


async def test_an_idempotent_tool_is_tried_again_after_a_timeout() -> None:
    calls: list[int] = []

    @tool(timeout=0.05, retries=1, idempotent=True)
    async def slow() -> str:
        calls.append(1)
        if len(calls) == 1:
            await anyio.sleep(PATIENCE)
        return "ok"

    outcome = await call(slow)
    assert (outcome.text, outcome.attempts) == ("ok", 2)
    assert outcome.notes == (
        "attempt 1 failed (tool 'slow' took longer than 0.05 s and was stopped); tried again",
    )


async def test_retries_start_from_fresh_arguments() -> None:
    seen: list[list[int]] = []

    @tool(retries=2)
    def f(items: list[int]) -> int:
        seen.append(list(items))
        items.clear()
        if len(seen) < 3:
            raise OSError("busy")
        return len(seen)

    outcome = await call(f, items=[1, 2])
    assert (outcome.text, outcome.attempts) == ("3", 3)
    assert seen == [[1, 2]] * 3


async def test_retries_end() -> None:
    outcome = await call(raising(OSError("busy"), retries=1))
    assert (outcome.text, outcome.attempts) == ("Error: OSError: busy", 2)


def toolset(*tools: Any) -> Toolset:
    return Toolset(tools)


def calls_of(*names: str, **arguments: Any) -> list[ToolCall]:
    return [ToolCall(f"c{index}", name, arguments) for index, name in enumerate(names)]


async def test_outcomes_come_in_call_order_and_events_as_they_happen() -> None:
    slow_started, first_may_end = anyio.Event(), anyio.Event()

    @tool
    async def slow() -> str:
        slow_started.set()
        await first_may_end.wait()
        return "slow"

    @tool
    async def quick() -> str:
        await slow_started.wait()
        first_may_end.set()
        return "quick"

    seen: list[str] = []

    async def on_start(call: ToolCall) -> None:
        seen.append(f"+{call.name}")

    async def on_finish(outcome: ToolOutcome) -> None:
        seen.append(f"-{outcome.name}")

    with anyio.fail_after(PATIENCE):
        outcomes = await execute_calls(
            toolset(slow, quick),
            calls_of("slow", "quick"),
            RunContext(None),
            on_start=on_start,
            on_finish=on_finish,
        )
    assert [outcome.text for outcome in outcomes] == ["slow", "quick"]
    assert [outcome.call_id for outcome in outcomes] == ["c0", "c1"]
    assert set(seen[:2]) == {"+slow", "+quick"}
    assert seen[2:] == ["-quick", "-slow"]


async def test_a_failing_call_leaves_its_siblings_alone() -> None:
    @tool
    def good() -> str:
        return "good"

    outcomes = await execute_calls(
        toolset(good, raising(ValueError("stock is empty"))),
        calls_of("broken", "good", "goood"),
        RunContext(None),
    )
    assert [outcome.text for outcome in outcomes] == [
        "Error: ValueError: stock is empty",
        "good",
        "Error: There is no tool 'goood'. Nearest: good. Tools: broken, good.",
    ]


@pytest.mark.parametrize("limit", [1, 3])
async def test_concurrency_reaches_the_limit_and_no_further(limit: int) -> None:
    running = most = 0
    full = anyio.Event()

    @tool
    async def f() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == limit:
            full.set()
        await full.wait()  # nobody goes on before the limit is reached
        await anyio.lowlevel.checkpoint()
        running -= 1

    with anyio.fail_after(PATIENCE):
        await execute_calls(toolset(f), calls_of(*["f"] * 7), RunContext(None), max_parallel=limit)
    assert most == limit


async def test_an_exclusive_tool_runs_alone_and_in_its_place() -> None:
    running: set[str] = set()
    beside: list[set[str]] = []
    order: list[str] = []

    async def work(name: str) -> None:
        running.add(name)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        running.discard(name)
        order.append(name)

    @tool
    async def read() -> None:
        await work(f"read{len(order)}")

    @tool(exclusive=True)
    async def write() -> None:
        beside.append(set(running))
        await work("write")
        beside.append(set(running))

    await execute_calls(
        toolset(read, write), calls_of("read", "read", "write", "read", "write"), RunContext(None)
    )
    assert beside == [set()] * 4
    assert [name[:4] for name in order] == ["read", "read", "writ", "read", "writ"]


async def test_cancelling_the_caller_cancels_an_async_tool() -> None:
    started = anyio.Event()
    ended: list[str] = []

    @tool
    async def f() -> None:
        started.set()
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            ended.append("cancelled")
            raise

    async def run() -> None:
        await execute_calls(toolset(f), calls_of("f", "f"), RunContext(None))
        ended.append("not reached")

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await started.wait()
            group.cancel_scope.cancel()
    assert ended == ["cancelled"] * 2


async def test_cancelling_the_caller_does_not_wait_for_a_thread_but_tells_it() -> None:
    started, saw_it, give_up = threading.Event(), threading.Event(), threading.Event()

    @tool
    def f(ctx: RunContext[None]) -> None:
        started.set()
        while not ctx.cancelled and not give_up.wait(0.005):
            pass
        if ctx.cancelled:
            saw_it.set()

    try:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(call, f)
                await anyio.to_thread.run_sync(started.wait)
                group.cancel_scope.cancel()
            assert await anyio.to_thread.run_sync(saw_it.wait, PATIENCE)
    finally:
        give_up.set()


async def test_a_deadline_of_the_caller_is_not_taken_for_the_tools_own() -> None:
    @tool(timeout=PATIENCE)
    async def f() -> None:
        await anyio.sleep_forever()

    with anyio.move_on_after(0.02) as scope:
        await call(f)
    assert scope.cancelled_caught


async def test_a_tool_that_cancels_itself_is_a_failed_call(anyio_backend: str) -> None:
    if anyio_backend != "asyncio":
        pytest.skip("trio has no cancellation without a canceller")

    @tool
    async def f() -> None:
        task = asyncio.ensure_future(asyncio.sleep(PATIENCE))
        task.cancel()
        await task

    @tool
    async def good() -> str:
        return "good"

    outcomes = await execute_calls(toolset(f, good), calls_of("f", "good"), RunContext(None))
    assert [item.text for item in outcomes] == ["Error: tool 'f' cancelled itself", "good"]


async def test_a_tool_that_raises_stop_iteration_is_told_by_its_name() -> None:
    outcome = await call(raising(StopIteration()))
    assert outcome.text == "Error: RuntimeError: the tool raised StopIteration"
