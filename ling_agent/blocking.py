"""Asynchronous work from synchronous code, wherever that code runs."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator
from concurrent.futures import Future, wait
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Generic, TypeVar

import anyio
import anyio.lowlevel
from anyio.from_thread import BlockingPortal, start_blocking_portal

from .events import Event
from .results import OutT, RunResult
from .stream import RunStream

T = TypeVar("T")


class SyncRunStream(Generic[OutT]):
    """A `RunStream` for synchronous code; it is made by `Agent.stream_sync`.

    Iterate over it to read the events. The run works in a thread of its own and waits for a slow
    reader; leaving the context early cancels it, and so does Ctrl-C.
    """

    def __init__(self, portal: BlockingPortal, stream: RunStream[OutT]) -> None:
        self._portal = portal
        self._stream = stream
        self._left = False

    @property
    def run_id(self) -> str:
        """Name of the run or session."""
        return self._stream.run_id

    @property
    def result(self) -> RunResult[OutT]:
        """See `RunStream.result`."""
        return self._stream.result

    def cancel(self) -> None:
        """See `RunStream.cancel`; from any thread."""
        self._stream.cancel()

    def stop(self) -> None:
        """See `RunStream.stop`; from any thread."""
        self._stream.stop()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event = None if self._left else self._portal.call(self._next)
        if event is None:
            raise StopIteration
        return event

    def leave(self) -> None:
        """There are no more events: the loop that has run it ends."""
        self._left = True

    async def _next(self) -> Event | None:
        return await anext(self._stream, None)


@contextmanager
def streaming_blocking(
    opened: AbstractAsyncContextManager[RunStream[OutT]],
) -> Generator[SyncRunStream[OutT], None, None]:
    """Enter a stream in an event loop of its own, in another thread."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(opened) as stream,
    ):
        run = SyncRunStream(portal, stream)
        try:
            yield run
        finally:
            run.leave()


def run_blocking(call: Callable[[], Coroutine[Any, Any, T]], cancel: Callable[[], None]) -> T:
    """Run a coroutine to its end: in this thread, or in another when a loop runs here.

    Args:
        call: Makes the coroutine.
        cancel: Asks it to end; called on Ctrl-C, which is raised once it has.
    """
    if not _loop_runs_here():
        return anyio.run(call)
    outcome: Future[T] = Future()
    context = contextvars.copy_context()

    def target() -> None:
        try:
            outcome.set_result(context.run(_run_anew, call))
        except BaseException as error:
            outcome.set_exception(error)

    thread = threading.Thread(target=target, name="ling-agent-run-sync")
    try:
        thread.start()
        wait([outcome])
    except KeyboardInterrupt:
        cancel()
        # Not thread.join(): once interrupted, it takes the thread for ended (bpo-45274).
        wait([outcome])
        raise
    return outcome.result()


def _loop_runs_here() -> bool:
    try:
        anyio.lowlevel.current_token()
    except RuntimeError:
        pass
    else:
        return True
    try:
        asyncio.get_running_loop()  # in a callback no task runs, so anyio does not see the loop
    except RuntimeError:
        return False
    return True


def _run_anew(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """`anyio.run` in a thread whose context is a copy of one in which a loop runs."""
    for variable in contextvars.copy_context():
        if variable.name == "current_async_library_cvar":  # sniffio's: it names the other loop
            variable.set(None)
    return anyio.run(call)
