"""From a run to an HTTP answer: streamed or whole, and cancelled when its client has gone."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import anyio
from starlette.types import Receive

from ..cancellation import CancelToken
from ..errors import LingAgentError
from ..events import Event, RunFinished, RunStarted, StepStarted, TextDelta
from ..results import RunResult, RunStatus
from ..stream import RunStream
from .chunks import Completion
from .content import Content
from .conversations import Ending
from .receiving import watch
from .refusals import OUR_FAULT, RefusedError, refusal_of
from .runs import Admitted
from .writing import EventWriter

_log = logging.getLogger("ling_agent.serve")


@dataclass(frozen=True, slots=True)
class Job:
    """A run that is to be answered.

    Attributes:
        run_id: Its name.
        run: Makes it, for an answer in one piece.
        stream: Makes it, for a streamed answer.
        completion: Writes the answer.
        answer_only: See `Content`.
    """

    run_id: str
    run: Callable[[CancelToken], Awaitable[RunResult]]
    stream: Callable[[CancelToken], AbstractAsyncContextManager[RunStream]]
    completion: Completion
    answer_only: bool


@contextlib.asynccontextmanager
async def _beside(*tasks: Callable[[], Coroutine[Any, Any, None]]) -> AsyncGenerator[None, None]:
    """Have tasks run for the time of the body, whose errors are raised as they are."""
    failure: Exception | None = None
    async with anyio.create_task_group() as group:
        for task in tasks:
            group.start_soon(task)
        try:
            yield
        except Exception as error:
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def answer_whole(job: Job, admitted: Admitted, receive: Receive) -> RunResult:
    """Run to the end; a client that goes cancels it.

    Raises:
        RefusedError: What the client is told in place of an answer.
    """

    async def watching() -> None:
        await watch(receive, admitted.token.cancel)

    try:
        async with _beside(watching):
            return await job.run(admitted.token)
    except LingAgentError as error:
        raise _told(error, job.run_id) from error


def refused_result(result: RunResult, admitted: Admitted) -> RefusedError | None:
    """The error that a run without an answer is told as; None for one with an answer."""
    match result.status:
        case RunStatus.failed:
            if result.error is None:
                return RefusedError(500, OUR_FAULT, code="server_error")
            return _told(result.error, result.run_id)
        case RunStatus.cancelled:
            why = "the server is shutting down: " if admitted.shut_down else ""
            return RefusedError(503, f"{why}the run was cancelled", code="cancelled", retry_after=5)
        case _:
            return None


async def answer_streamed(
    job: Job, admitted: Admitted, end: Ending, receive: Receive, writer: EventWriter
) -> RunResult | None:
    """Run and send the events as they come; None when the run left no result.

    Raises:
        RefusedError: What the client is told in place of an answer, when nothing was sent yet.
    """

    def gone() -> None:
        writer.gone = True
        admitted.token.cancel()

    async def watching() -> None:
        await watch(receive, gone)

    try:
        async with _beside(watching, writer.keep_alive):
            return await _Stream(job, admitted, end, writer).run()
    except Exception as error:
        refused = _told_any(error, job.run_id)
        await end.settle(None)
        if not writer.begun:
            raise refused from error
        await _end(writer, job.completion.broken(refused))
        return None


class _Stream:
    """One streamed answer."""

    def __init__(self, job: Job, admitted: Admitted, end: Ending, writer: EventWriter) -> None:
        self._job = job
        self._end = end
        self._admitted = admitted
        self._writer = writer
        self._completion = job.completion
        self._content = Content(answer_only=job.answer_only)

    async def run(self) -> RunResult:
        """Send everything; raises what the run raises."""
        last: RunFinished | None = None
        async with self._job.stream(self._admitted.token) as events:
            async for event in events:
                if isinstance(event, RunFinished):
                    last = event  # sent when the run has been kept, too
                    continue
                await self._send(event)
                if self._writer.gone:
                    self._admitted.token.cancel()
        result = events.result
        await self._end.settle(result)
        await self._finish(last or RunFinished(result), result)
        return result

    async def _send(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._writer.hold(self._completion.begin(event))
            case StepStarted():
                self._content.begin()
                part = self._completion.event(event, "")
                if self._writer.begun:
                    await self._writer.write(part)
                else:
                    self._writer.hold(part)
            case TextDelta(text):
                await self._writer.write(self._completion.event(event, self._content.add(text)))
            case _:
                await self._writer.write(self._completion.event(event, ""))

    async def _finish(self, event: RunFinished, result: RunResult) -> None:
        refused = refused_result(result, self._admitted)
        if refused is not None:
            parts = self._completion.broken(refused, event)
        else:
            answer = self._content.end(self._completion.content(result))
            parts = self._completion.end(event, result, answer)
        await _end(self._writer, parts)


async def _end(writer: EventWriter, parts: list[bytes]) -> None:
    await writer.write(b"".join(parts), last=True)


def _told(error: LingAgentError, run_id: str) -> RefusedError:
    _log.error("run %s: %s: %s", run_id, type(error).__name__, " ".join(str(error).split()))
    return refusal_of(error)


def _told_any(error: Exception, run_id: str) -> RefusedError:
    """What a client is told of any error; one that is a mistake in the program gets a traceback."""
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, LingAgentError):
        return _told(error, run_id)
    _log.error("run %s: %s", run_id, type(error).__name__, exc_info=error)
    return RefusedError(500, OUR_FAULT, code="server_error")
