"""`RunStream`: the events of a run while it runs, its result afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import anyio

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
        self._send, self._receive = anyio.create_memory_object_stream[Event](0)
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
            if isinstance(event, RunFinished):
                self._result = event.result
            return event
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    async def emit(self, event: Event) -> None:
        """Hand an event to the reader, if there still is one; used by the run."""
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self._send.send(event)

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
        self._receive.close()
        self._send.close()
