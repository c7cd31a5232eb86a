"""`RunStream`: the events of a run while it runs, its result afterwards."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup, TaskStatus

from .cancellation import CancelToken
from .errors import ConfigurationError
from .events import Emit, Event, RunFinished, RunStarted
from .launch import execute
from .loop import Run
from .results import OutT, RunResult


class RunStream(Generic[OutT]):
    """Iterate over it to read the events; the run waits for a slow reader and loses nothing.

    It is made by `Agent.stream`.

    Attributes:
        detached: Whether the run goes on without a reader.
        ended: Set when the run has ended.
    """

    def __init__(self, token: CancelToken) -> None:
        self._token = token
        # Unbounded, so that no event is lost when the wait for the reader is cancelled.
        self._send, self._receive = anyio.create_memory_object_stream[Event](math.inf)
        self._taken = anyio.Event()
        self._closed = False
        self.ended = anyio.Event()
        self._result: RunResult[OutT] | None = None
        self._error: Exception | None = None
        self._run_id = ""
        self.detached = False

    @property
    def run_id(self) -> str:
        """Name of the run or session."""
        return self._run_id

    @property
    def result(self) -> RunResult[OutT]:
        """The result: there once the events are read to the end, or the context is left.

        Raises:
            ConfigurationError: The run has not ended.
            Exception: What ended the run, when that left no result.
        """
        if self._result is not None:
            return self._result
        if self._error is not None:
            raise self._error
        if self.ended.is_set():
            raise ConfigurationError("the run's task was cancelled: go on with Agent.resume")
        raise ConfigurationError("the run has not ended: read its events to the end first")

    def cancel(self) -> None:
        """End the run with status ``cancelled``; go on reading to get its last events."""
        self._token.cancel()

    def stop(self) -> None:
        """Have the model say no more, and end the run with what it has said, as ``stopped``."""
        self._token.stop()

    def detach(self) -> None:
        """Read no more and let the run go on: its events are dropped, its result is kept.

        Leaving the context then waits for its end, or does not where the run was given a task
        group to live in (``within``); `wait` waits for it in either case.
        """
        self.detached = True
        self.close()

    async def wait(self) -> RunResult[OutT]:
        """Wait for the end of a run that is detached, or that others read.

        Raises:
            Exception: What ended the run, when that left no result.
        """
        await self.ended.wait()
        return self.result

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
                if self._taken.is_set():  # several may wait, and all for the same
                    self._taken = anyio.Event()
                await self._taken.wait()

    async def run(
        self,
        opened: Callable[[Emit], AbstractAsyncContextManager[Run]],
        *,
        task_status: TaskStatus[Exception | None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Do the work; the starter gets why it could not begin, the reader what ended it later."""
        begun = False
        try:
            async with opened(lambda *events: self.emit(*events)) as run:
                self._run_id = run.run_id
                begun = True
                task_status.started(None)
                await self.emit(RunStarted(run.run_id, run.task))
                result: RunResult[Any] = await execute(run)
            try:
                await self.emit(RunFinished(result))
            finally:  # also when the wait for the reader is cancelled: the run has ended
                self._result = result
        except Exception as error:
            self._error = error
            if not begun:
                task_status.started(error)
        finally:
            self._send.close()
            self.ended.set()

    def close(self) -> None:
        """Nobody reads any more: what is emitted from here on is dropped."""
        self._closed = True
        self._taken.set()
        self._receive.close()


@asynccontextmanager
async def running(
    token: CancelToken,
    opened: Callable[[Emit], AbstractAsyncContextManager[Run]],
    within: TaskGroup | None,
) -> AsyncGenerator[RunStream[Any], None]:
    """Run in a task of its own while the body reads the events.

    The body's errors are raised as such, and those of a run that could not begin, too.

    Args:
        token: Ends the run.
        opened: Begins it.
        within: Whose task it is; of the body's own group by default.
    """
    stream: RunStream[Any] = RunStream(token)
    if within is not None:
        try:
            await _begin(within, stream, opened)
        except BaseException:
            stream.close()
            raise
        try:
            yield stream
        finally:
            _leave(stream)
            if not stream.detached:
                with anyio.CancelScope(shield=True):
                    await stream.ended.wait()
        return
    failure: BaseException | None = None
    try:
        async with anyio.create_task_group() as group:
            try:
                await _begin(group, stream, opened)
                yield stream
            except BaseException as error:
                failure = error
                raise
            finally:
                _leave(stream)
    except BaseExceptionGroup:
        # A cancelled body with a group is one that the child's own failure has cancelled.
        if failure is None or isinstance(failure, anyio.get_cancelled_exc_class()):
            raise
    if failure is not None:
        raise failure  # not the task group's wrapping of it


async def _begin(
    group: TaskGroup,
    stream: RunStream[Any],
    opened: Callable[[Emit], AbstractAsyncContextManager[Run]],
) -> None:
    error: Exception | None = await group.start(stream.run, opened)
    if error is not None:
        raise error


def _leave(stream: RunStream[Any]) -> None:
    if not stream.detached:
        stream.cancel()
    stream.close()
