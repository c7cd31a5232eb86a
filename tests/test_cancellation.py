"""Ending a run from outside: a token, the stream, the task itself."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import anyio
import anyio.to_thread
import pytest

from ling_agent import Agent, CancelToken, RunResult, RunStatus, tool
from ling_agent.cancellation import _Signal  # pyright: ignore[reportPrivateUsage]
from ling_agent.events import RunFinished, TextDelta, ToolStarted
from ling_agent.testing import ScriptedBackend

from .helpers import GUARD, StallingBackend, call, kinds, observations

pytestmark = pytest.mark.anyio


class Hanging:
    """A tool that hangs until it is cancelled."""

    def __init__(self) -> None:
        self.started = anyio.Event()
        self.cancelled = False

        @tool
        async def hang() -> str:
            """Hang."""
            self.started.set()
            try:
                await anyio.sleep_forever()
            finally:
                self.cancelled = True
            return ""

        self.agent = Agent(
            ScriptedBackend([call("hang"), "done"]), tools=[hang], planning="off", name="hanging"
        )


def canceller(token: CancelToken) -> Callable[[int, object], None]:
    def handle(number: int, frame: object) -> None:
        token.cancel()

    return handle


async def run_and_cancel(agent: Agent, ready: anyio.Event, how: str) -> RunResult:
    token = CancelToken()

    async def cancel() -> None:
        await ready.wait()
        if how == "task":
            token.cancel()
        elif how == "thread":
            await anyio.to_thread.run_sync(token.cancel)
        else:
            previous = signal.signal(signal.SIGUSR1, canceller(token))
            try:
                os.kill(os.getpid(), signal.SIGUSR1)
                await anyio.lowlevel.checkpoint()
            finally:
                signal.signal(signal.SIGUSR1, previous)

    result: RunResult | None = None
    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            group.start_soon(cancel)
            result = await agent.run("x", cancel=token)
    assert result is not None
    return result


@pytest.mark.parametrize("how", ["task", "thread", "signal"])
async def test_a_token_ends_a_model_request_and_keeps_its_text(how: str) -> None:
    backend = StallingBackend("half an ans")
    result = await run_and_cancel(Agent(backend, planning="off"), backend.stalled, how)
    assert (result.status, result.output) == (RunStatus.cancelled, "half an ans")
    assert backend.left, "the request was left"
    assert kinds(result) == ["task", "limit"]


@pytest.mark.parametrize("how", ["task", "thread", "signal"])
async def test_a_token_ends_a_tool(how: str) -> None:
    hanging = Hanging()
    result = await run_and_cancel(hanging.agent, hanging.started, how)
    assert result.status is RunStatus.cancelled
    assert hanging.cancelled
    assert "interrupted" in observations(result)[0]
    assert (await hanging.agent.resume(result.run_id)).output == "done"


async def test_a_signal_while_the_loop_sleeps_wakes_it() -> None:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signal handlers run in the main thread")
    token, backend = CancelToken(), StallingBackend()
    main = threading.get_ident()

    async def later() -> None:
        await backend.stalled.wait()
        timer = threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGUSR1))
        timer.start()

    previous = signal.signal(signal.SIGUSR1, canceller(token))
    result: RunResult | None = None
    try:
        with anyio.fail_after(GUARD):
            async with anyio.create_task_group() as group:
                group.start_soon(later)
                result = await Agent(backend, planning="off").run("x", cancel=token)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert result is not None
    assert result.status is RunStatus.cancelled


async def test_a_token_that_was_cancelled_before_asks_nothing() -> None:
    token = CancelToken()
    token.cancel()
    backend = ScriptedBackend(["never"])
    agent = Agent(backend, planning="off")
    result = await agent.run("x", cancel=token)
    assert (result.status, result.steps, backend.requests) == (RunStatus.cancelled, (), [])
    assert (await agent.resume(result.run_id)).output == "never"


async def test_a_tool_may_cancel_the_run_and_no_request_follows() -> None:
    token = CancelToken()

    @tool
    def stop() -> str:
        """Stop."""
        token.cancel()
        return "stopped"

    backend = ScriptedBackend([call("stop"), "never"])
    result = await Agent(backend, tools=[stop], planning="off").run("x", cancel=token)
    assert result.status is RunStatus.cancelled
    assert len(backend.requests) == 1


async def test_one_token_ends_several_runs_and_later_ones() -> None:
    token = CancelToken()
    backends = [StallingBackend() for _ in range(3)]
    results: list[RunResult] = []

    async def run(backend: StallingBackend) -> None:
        results.append(await Agent(backend, planning="off").run("x", cancel=token))

    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            for backend in backends:
                group.start_soon(run, backend)
            for backend in backends:
                await backend.stalled.wait()
            token.cancel()
    assert [result.status for result in results] == [RunStatus.cancelled] * 3


async def test_a_finished_run_lets_go_of_the_token() -> None:
    token = CancelToken()
    result = await Agent(ScriptedBackend(["a"]), planning="off").run("x", cancel=token)
    token.cancel()
    await anyio.lowlevel.checkpoint()
    assert result.ok
    assert token.cancelled


async def test_native_cancellation_propagates_and_the_run_can_be_resumed() -> None:
    hanging = Hanging()
    scope = anyio.CancelScope()

    async def run() -> None:
        with scope:
            await hanging.agent.run("x", session="s")

    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await hanging.started.wait()
            scope.cancel()
    assert scope.cancelled_caught
    assert hanging.cancelled
    resumed = await hanging.agent.resume("s")
    assert resumed.output == "done"
    assert "interrupted" in observations(resumed)[0]


async def test_cancelling_the_stream_gives_its_last_events_and_result() -> None:
    backend = StallingBackend("half")
    events: list[object] = []
    with anyio.fail_after(GUARD):
        async with Agent(backend, planning="off").stream("x") as run:
            async for event in run:
                events.append(event)
                if isinstance(event, TextDelta):
                    run.cancel()
    assert isinstance(events[-1], RunFinished)
    assert (run.result.status, run.result.output) == (RunStatus.cancelled, "half")


async def test_leaving_the_stream_early_cancels_the_run_and_keeps_the_result() -> None:
    hanging = Hanging()
    with anyio.fail_after(GUARD):
        async with hanging.agent.stream("x") as run:
            async for event in run:
                if isinstance(event, ToolStarted):
                    break
            await hanging.started.wait()
    assert hanging.cancelled
    assert run.result.status is RunStatus.cancelled
    assert [event async for event in run] == [], "nothing is left to read"
    assert (await hanging.agent.resume(run.result.run_id)).output == "done"


async def test_leaving_the_stream_at_once() -> None:
    backend = ScriptedBackend(["never"])
    async with Agent(backend).stream("x") as run:
        pass
    assert run.result.status is RunStatus.cancelled
    assert backend.requests == []


async def test_a_token_ends_a_streamed_run_and_the_stream_leaves_the_token_alone() -> None:
    token = CancelToken()
    backend = StallingBackend("half")
    with anyio.fail_after(GUARD):
        async with Agent(backend, planning="off").stream("x", cancel=token) as run:
            async for event in run:
                if isinstance(event, TextDelta):
                    token.cancel()
    assert run.result.status is RunStatus.cancelled
    other = CancelToken()
    async with Agent(StallingBackend(), planning="off").stream("x", cancel=other) as run:
        run.cancel()
    assert not other.cancelled


async def test_native_cancellation_of_a_stream_propagates() -> None:
    hanging = Hanging()
    with anyio.fail_after(GUARD), anyio.CancelScope() as scope:
        async with hanging.agent.stream("x", session="s") as run:
            async for event in run:
                if isinstance(event, ToolStarted):
                    await hanging.started.wait()
                    scope.cancel()
    assert scope.cancelled_caught
    assert hanging.cancelled
    assert (await hanging.agent.resume("s")).output == "done"


def test_callbacks_are_called_once_and_can_be_undone() -> None:
    token, called = CancelToken(), list[str]()
    token.on_cancel(lambda: called.append("a"))
    undo = token.on_cancel(lambda: called.append("b"))
    undo()
    undo()
    assert not token.cancelled
    token.cancel()
    token.cancel()
    token.on_cancel(lambda: called.append("late"))
    assert called == ["a", "late"]
    assert token.cancelled


def lines_of(function: Callable[..., object]) -> list[int]:
    """The lines of a function's body, from 1."""
    code = function.__code__  # type: ignore[attr-defined]
    return sorted({line for *_, line in code.co_lines() if line and line > code.co_firstlineno})


@contextlib.contextmanager
def interrupted_at(function: Callable[..., object], line: int, handler: Callable[[], None]) -> Any:
    """A handler is called in front of a line, as one of a signal may be."""

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code is not function.__code__:  # type: ignore[attr-defined]
            return None
        if event == "line" and frame.f_lineno == line:
            sys.settrace(None)
            handler()
            return None
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("line", lines_of(_Signal.subscribe))
def test_a_signal_handler_that_comes_while_a_callback_is_registered(line: int) -> None:
    word, called = _Signal(), list[str]()
    with interrupted_at(_Signal.subscribe, line, word.set):
        undo = word.subscribe(lambda: called.append("a"))
    word.set()
    assert called == ["a"]
    undo()


@pytest.mark.parametrize("line", lines_of(_Signal.forget))
def test_a_signal_handler_that_comes_while_a_callback_is_taken_back(line: int) -> None:
    word, called = _Signal(), list[str]()
    undo = word.subscribe(lambda: called.append("a"))
    with interrupted_at(_Signal.forget, line, word.set):
        undo()
    word.set()
    assert len(called) <= 1


@pytest.mark.parametrize("line", lines_of(_Signal.set))
def test_a_signal_handler_that_comes_while_the_callbacks_are_called(line: int) -> None:
    word, called = _Signal(), list[str]()
    for name in "abc":
        word.subscribe(lambda name=name: called.append(name))  # type: ignore[misc]
    with interrupted_at(_Signal.set, line, word.set):
        word.set()
    assert sorted(called) == ["a", "b", "c"]


def test_a_token_may_be_cancelled_after_its_loop_has_ended() -> None:
    token = CancelToken()
    kept: list[Callable[[], None]] = []
    original = token.on_cancel

    def on_cancel(callback: Callable[[], None]) -> Callable[[], None]:
        kept.append(callback)
        return original(callback)

    token.on_cancel = on_cancel  # type: ignore[method-assign]
    assert Agent(ScriptedBackend(["a"]), planning="off").run_sync("x", cancel=token).ok
    for callback in kept:
        callback()
