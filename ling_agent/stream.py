"""`RunStream`: the events of a run while it runs, its result afterwards."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any

import anyio
import anyio.lowlevel

from .cancellation import CancelToken
from .errors import ConfigurationError
from .events import Event, RunFinished
from .results import RunResult


class RunStream:
    """Iterate over it to read the events; the run waits for a slow reader and loses nothing.

    It is made by `Agent.stream`.
    """

    def __init__(self, token: CancelToken) -> None:
        self._token = token
        # Unbounded, so that no event is lost when the wait for the reader is cancelled.
        self._send, self._receive = anyio.create_memory_object_stream[Event](math.inf)
        self._taken = anyio.Event()
        self._closed = False
        self._result: RunResult | None = None
        self._error: Exception | None = None

    @property
    def result(self) -> RunResult:
        """The result: there once the events are read to the end, or the context is left.

        Raises:
            ConfigurationError: The run has not ended.
            Exception: What ended the run, when that left no result.
        """
        if self._result is not None:
            return self._result
        if self._error is not None:
            raise self._error
        raise ConfigurationError("the run has not ended: read its events to the end first")

    def cancel(self) -> None:
        """End the run with status ``cancelled``; go on reading to get its last events."""
        self._token.cancel()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        with contextlib.suppress(anyio.EndOfStream, anyio.ClosedResourceError):
            event = await self._receive.receive()
            self._taken.set()
            if isinstance(event, RunFinished):
                self._result = event.result
            return event
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    async def emit(self, *events: Event) -> None:
        """Hand events to the reader, if there still is one, and wait for it; used by the run."""
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            for event in events:
                self._send.send_nowait(event)
            await anyio.lowlevel.checkpoint()
            while not self._closed and self._send.statistics().current_buffer_used:
                self._taken = anyio.Event()
                await self._taken.wait()

    async def finish(self, result: RunResult) -> None:
        """Hand over the last event; used by the run."""
        await self.emit(RunFinished(result))
        self._result = result
        self._send.close()

    def fail(self, error: Exception) -> None:
        """End with an error, which the reader gets; used by the run."""
        self._error = error
        self._send.close()

    def close(self) -> None:
        """Nobody reads any more: what is emitted from here on is dropped."""
        self._closed = True
        self._taken.set()
        self._receive.close()
        self._send.close()


@contextlib.asynccontextmanager
async def running(
    stream: RunStream, work: Callable[[], Coroutine[Any, Any, RunResult]]
) -> AsyncGenerator[None, None]:
    """Run in a child task while the body reads the events; the body's errors are raised as such."""

    async def child() -> None:
        try:
            result = await work()
        except Exception as error:
            stream.fail(error)
        else:
            await stream.finish(result)

    failure: BaseException | None = None
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(child)
            try:
                yield
            except BaseException as error:
                failure = error
                raise
            finally:
                stream.cancel()
                stream.close()
    except BaseExceptionGroup:
        # A cancelled body with a group is one that the child's own failure has cancelled.
        if failure is None or isinstance(failure, anyio.get_cancelled_exc_class()):
            raise
    if failure is not None:
        raise failure  # not the task group's wrapping of it
