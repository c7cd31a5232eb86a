"""Runs in the logs: what happened and what it cost, never what was said.

The logger is ``ling_agent.run``: the end of a run at level INFO, its model requests and tool calls
at DEBUG. A run that failed is no warning: its caller gets the error. Each record has the same as a
dictionary, ``record.run``, for handlers that write fields.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from .seam import Answer, RunTrace

if TYPE_CHECKING:
    from ..backends.base import ModelInfo, ModelRequest
    from ..messages import ToolCall
    from ..results import RunResult
    from ..tools import Tool, ToolOutcome

_log = logging.getLogger("ling_agent.run")


def logged(trace: RunTrace, agent: str, run_id: str) -> RunTrace:
    """The same trace, told to `logging` as far as somebody listens."""
    if not _log.isEnabledFor(logging.INFO):
        return trace
    return _LoggedRun(trace, {"agent": agent, "run_id": run_id})


def logged_broken(agent: str, run_id: str, status: str, error: BaseException) -> None:
    """Tell the end of a run that raised, which has no result."""
    fields = {"agent": agent, "run_id": run_id, "status": status, "error": type(error).__name__}
    text = "%s %s: %s: %s was raised"
    _log.info(text, agent, run_id, status, fields["error"], extra={"run": fields})


class _LoggedRun:
    def __init__(self, trace: RunTrace, fields: dict[str, Any]) -> None:
        self._trace = trace
        self._fields = fields

    def model(
        self, request: ModelRequest, info: ModelInfo | None, step: int
    ) -> AbstractContextManager[Callable[[Answer], None]]:
        inner = self._trace.model(request, info, step)
        return self._model(inner, step) if _log.isEnabledFor(logging.DEBUG) else inner

    @contextmanager
    def _model(
        self, inner: AbstractContextManager[Callable[[Answer], None]], step: int
    ) -> Generator[Callable[[Answer], None], None, None]:
        started = time.perf_counter()
        with inner as answered:

            def told(answer: Answer) -> None:
                answered(answer)
                usage = answer.usage
                self._tell(
                    logging.DEBUG,
                    "step %d: %d prompt and %d completion tokens, %s",
                    (step, usage.prompt_tokens, usage.completion_tokens, answer.finish_reason),
                    step=step,
                    prompt_tokens=usage.prompt_tokens,
                    completion_tokens=usage.completion_tokens,
                    cached_tokens=usage.cached_tokens,
                    finish_reason=answer.finish_reason,
                    seconds=round(time.perf_counter() - started, 3),
                )

            yield told

    def tool(
        self, call: ToolCall, tool: Tool[..., Any] | None
    ) -> AbstractContextManager[Callable[[ToolOutcome], None]]:
        inner = self._trace.tool(call, tool)
        return self._tool(inner, call) if _log.isEnabledFor(logging.DEBUG) else inner

    @contextmanager
    def _tool(
        self, inner: AbstractContextManager[Callable[[ToolOutcome], None]], call: ToolCall
    ) -> Generator[Callable[[ToolOutcome], None], None, None]:
        with inner as ended:

            def told(outcome: ToolOutcome) -> None:
                ended(outcome)
                self._tell(
                    logging.DEBUG,
                    "%s %s in %.3f s",
                    (call.name, "failed" if outcome.is_error else "ended", outcome.seconds),
                    call_id=call.id,
                    tool=call.name,
                    is_error=outcome.is_error,
                    attempts=outcome.attempts,
                    seconds=round(outcome.seconds, 3),
                )

            yield told

    def finished(self, result: RunResult[Any]) -> None:
        self._trace.finished(result)
        usage = result.usage
        self._tell(
            logging.INFO,
            "%s: %d requests, %d calls, %d tokens, %.2f s",
            (
                result.status,
                usage.requests,
                usage.tool_calls,
                usage.total_tokens,
                usage.seconds,
            ),
            status=str(result.status),
            error=type(result.error).__name__ if result.error is not None else None,
            requests=usage.requests,
            tool_calls=usage.tool_calls,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            seconds=round(usage.seconds, 3),
        )

    def _tell(self, level: int, text: str, values: tuple[Any, ...], **fields: Any) -> None:
        if _log.isEnabledFor(level):
            _log.log(
                level,
                "%s %s: " + text,
                self._fields["agent"],
                self._fields["run_id"],
                *values,
                extra={"run": self._fields | fields},
            )
