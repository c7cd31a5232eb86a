"""`stream_sync` and `resume_sync`, and `run_sync` where a loop runs: nothing is left behind."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from typing import Any

import anyio
import anyio.to_thread
import pytest
import trio

from ling_agent import (
    Agent,
    BackendUnavailable,
    CancelToken,
    ConfigurationError,
    Limits,
    RunContext,
    RunStatus,
    StoreError,
    tool,
)
from ling_agent.backends import ModelRequest
from ling_agent.events import Event, RunFinished, RunStarted, TextDelta, ToolProgress
from ling_agent.testing import Reply, ScriptedBackend

from .helpers import GUARD, StallingBackend, call


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Generator[None, None, None]:
    """Those of anyio's own pool end by themselves when they are idle; ours must have ended."""
    before = set(threading.enumerate())
    yield
    left = [t for t in set(threading.enumerate()) - before if "AnyIO worker" not in t.name]
    assert left == []


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def agent_with(*script: str | Reply) -> Agent:
    return Agent(ScriptedBackend(script), tools=[add], planning="off")


SCRIPT = (call("add", a=1, b=2), "It is 3.")


def here(work: Callable[[], None]) -> None:
    work()


def in_asyncio(work: Callable[[], None]) -> None:
    async def main() -> None:
        work()

    asyncio.run(main())


def in_a_callback(work: Callable[[], None]) -> None:
    done: list[BaseException | None] = []

    def callback(ended: asyncio.Event) -> None:
        try:
            work()
            done.append(None)
        except BaseException as error:
            done.append(error)
        ended.set()

    async def main() -> None:
        ended = asyncio.Event()
        asyncio.get_running_loop().call_soon(callback, ended)
        await ended.wait()

    asyncio.run(main())
    if done[0] is not None:
        raise done[0]


def in_trio(work: Callable[[], None]) -> None:
    async def main() -> None:
        work()

    trio.run(main)


def in_a_thread(work: Callable[[], None]) -> None:
    errors: list[BaseException] = []

    def target() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def in_a_worker_of_a_loop(work: Callable[[], None]) -> None:
    async def main() -> None:
        await anyio.to_thread.run_sync(work)

    anyio.run(main)


PLACES = [here, in_asyncio, in_a_callback, in_trio, in_a_thread, in_a_worker_of_a_loop]
everywhere = pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)


@everywhere
def test_the_same_events_and_result_everywhere(place: Callable[[Callable[[], None]], None]) -> None:
    def work() -> None:
        with agent_with(*SCRIPT).stream_sync("x") as run:
            first = next(run)
            assert isinstance(first, RunStarted)
            assert run.run_id == first.run_id
            with pytest.raises(ConfigurationError, match="has not ended"):
                _ = run.result
            events = list(run)
            assert isinstance(events[-1], RunFinished)
            assert run.result.output == "It is 3."
        assert run.result.ok
        assert agent_with(*SCRIPT).run_sync("x").output == "It is 3."

    place(work)


@everywhere
def test_resume_everywhere(place: Callable[[Callable[[], None]], None]) -> None:
    def work() -> None:
        agent = agent_with(*SCRIPT)
        first = agent.run_sync("x", limits=Limits(max_steps=1))
        assert first.status is RunStatus.max_steps
        assert agent.resume_sync(first.run_id).output == "It is 3."
        with pytest.raises(StoreError):
            agent.resume_sync("no such run")
        with pytest.raises(ConfigurationError, match="has completed"):
            agent.resume_sync(first.run_id)

    place(work)


@everywhere
def test_errors_are_raised_as_they_are(place: Callable[[Callable[[], None]], None]) -> None:
    class OopsError(Exception):
        pass

    def fail_at(event: Event) -> None:
        raise OopsError(event)

    def gone() -> Agent:
        return Agent(ScriptedBackend([BackendUnavailable("gone")]))

    def work() -> None:
        with pytest.raises(ConfigurationError, match="task is empty"), gone().stream_sync(" "):
            pass
        with pytest.raises(BackendUnavailable, match="gone"), gone().stream_sync("x") as run:
            list(run)
        with pytest.raises(BackendUnavailable, match="gone"):
            gone().run_sync("x")
        with pytest.raises(OopsError), agent_with(*SCRIPT).stream_sync("x"):
            raise OopsError
        with pytest.raises(OopsError), agent_with(*SCRIPT).stream_sync("x") as run:
            fail_at(next(run))

    place(work)


@everywhere
def test_leaving_early_cancels(place: Callable[[Callable[[], None]], None]) -> None:
    def work() -> None:
        backend = StallingBackend("some text")
        with Agent(backend).stream_sync("x") as run:
            for event in run:
                if isinstance(event, TextDelta):
                    break
        assert backend.left
        assert run.result.status is RunStatus.cancelled

    place(work)


def test_after_the_context_there_are_no_more_events() -> None:
    with agent_with(*SCRIPT).stream_sync("x") as run:
        list(run)
        assert list(run) == []
    assert list(run) == []
    with agent_with(*SCRIPT).stream_sync("x") as run:
        next(run)
    assert list(run) == []
    assert run.result.status is RunStatus.cancelled


@pytest.mark.parametrize("how", ["stop", "cancel"])
def test_the_run_can_be_ended_from_another_thread(how: str) -> None:
    with Agent(StallingBackend("some text")).stream_sync("x") as run:
        events: list[Event] = []
        for event in run:
            events.append(event)
            if isinstance(event, TextDelta):
                ending = threading.Thread(target=getattr(run, how))
                ending.start()
                ending.join()
    assert isinstance(events[-1], RunFinished)
    stopped = how == "stop"
    assert run.result.status is (RunStatus.stopped if stopped else RunStatus.cancelled)
    assert run.result.output == "some text"


def test_a_callers_token_ends_it() -> None:
    token = CancelToken()
    with Agent(StallingBackend("some text")).stream_sync("x", cancel=token) as run:
        for event in run:
            if isinstance(event, TextDelta):
                token.cancel()
    assert run.result.status is RunStatus.cancelled


def test_the_run_waits_for_a_slow_reader() -> None:
    """It is never more than one hand-over ahead of the reader."""
    written: list[int] = []

    def reply(number: int) -> Callable[[object], str]:
        def write(request: object) -> str:
            written.append(number)
            return call("add", a=number, b=0)

        return write

    backend = ScriptedBackend([*map(reply, range(20)), "done"])
    agent = Agent(backend, tools=[add], planning="off", limits=Limits(max_steps=30))
    seen_ahead: list[int] = []
    read = 0
    with agent.stream_sync("x") as run:
        for event in run:
            if type(event).__name__ == "StepStarted":
                read += 1
                seen_ahead.append(len(written) - read)
    assert run.result.output == "done"
    assert len(written) == 20
    assert max(seen_ahead) <= 0


def test_context_variables_reach_the_tools() -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    seen: list[str] = []

    @tool
    async def in_loop() -> str:
        """Look."""
        seen.append(variable.get())
        return ""

    @tool
    def in_thread() -> str:
        """Look."""
        seen.append(variable.get())
        return ""

    def work() -> None:
        script = [call("in_loop"), call("in_thread"), "a"]
        agent = Agent(ScriptedBackend(script), tools=[in_loop, in_thread], planning="off")
        with agent.stream_sync("x") as run:
            list(run)

    variable.set("set")
    for place in (here, in_asyncio, in_trio, in_a_worker_of_a_loop):
        place(work)
    assert seen == ["set"] * 8


def test_progress_of_tools_in_threads_comes_through() -> None:
    @tool
    def count(ctx: RunContext[Any]) -> str:
        """Count."""
        for number in range(5):
            ctx.emit(number)
        return "counted"

    agent = Agent(ScriptedBackend([call("count"), "a"]), tools=[count], planning="off")
    with agent.stream_sync("x") as run:
        told = [event.payload for event in run if isinstance(event, ToolProgress)]
    assert told == [0, 1, 2, 3, 4]


def test_threads_share_an_agent() -> None:
    def echo(request: ModelRequest) -> str:
        return request.messages[-1].content

    agent = Agent(ScriptedBackend([echo] * 16), planning="off")
    outputs: dict[str, str | None] = {}

    def ask(number: int) -> None:
        if number % 2:
            outputs[f"task {number}"] = agent.run_sync(f"task {number}").output
            return
        with agent.stream_sync(f"task {number}") as run:
            list(run)
        outputs[f"task {number}"] = run.result.output

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outputs) == 16
    assert all(task == output for task, output in outputs.items())


def test_a_notebook_with_a_running_loop() -> None:
    """As in Jupyter: cells are run by a loop in the main thread, and nothing patches it."""
    outputs: list[str | None] = []
    agent = agent_with("one", "two", "three", "four")

    async def cell_in_the_loop() -> None:
        outputs.append(agent.run_sync("x", session="s").output)
        with agent.stream_sync("x", session="s") as run:
            list(run)
        outputs.append(run.result.output)

    async def cell_with_await() -> None:
        outputs.append((await agent.run("x", session="s")).output)

    async def kernel() -> None:
        await cell_in_the_loop()
        await cell_with_await()
        outputs.append(agent.run_sync("x", session="s").output)

    asyncio.run(kernel())
    assert outputs == ["one", "two", "three", "four"]


INTERRUPTED = """
import asyncio, sys, threading
sys.path.insert(0, {root!r})
from ling_agent import Agent, Memory
from ling_agent.events import TextDelta
from ling_agent.memory import SQLiteStore
from tests.helpers import StallingBackend

class Telling(StallingBackend):
    async def _chunks(self):
        async for chunk in super()._chunks():
            yield chunk
            print("waiting", flush=True)

backend = Telling("some text")
agent = Agent(backend, memory=Memory(SQLiteStore({path!r})))

def run_sync():
    agent.run_sync("x", session="s")

def stream_sync():
    with agent.stream_sync("x", session="s") as run:
        for event in run:
            pass

async def in_loop():
    {how}()

def notebook():
    loop = asyncio.new_event_loop()  # leaves Ctrl-C to Python, as Jupyter's does
    try:
        loop.run_until_complete(in_loop())
    finally:
        loop.close()

try:
    {call}
except KeyboardInterrupt:
    others = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
    others = [name for name in others if "AnyIO worker" not in name]
    kept = [entry.kind for entry in agent.memory.store.load("s")]
    print("interrupted", backend.left, others, kept[-1] if kept else None, flush=True)
"""


@pytest.mark.parametrize("how", ["run_sync", "stream_sync"])
@pytest.mark.parametrize("where", ["{how}()", "notebook()"])
def test_ctrl_c_ends_the_run_and_is_raised(how: str, where: str, tmp_path: object) -> None:
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    program = INTERRUPTED.format(
        root=root, path=f"{tmp_path}/runs.db", how=how, call=where.format(how=how)
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == "waiting\n", process.communicate(timeout=GUARD)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=GUARD)
    finally:
        process.kill()
        process.wait()
    assert out == "interrupted True [] limit\n", (out, err)
    assert process.returncode == 0, err
