"""What the loop tells a tracer: that a run, a model request, a tool begins, and how each ended."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ..backends.base import ModelInfo, ModelRequest
    from ..messages import AssistantMessage, ToolCall
    from ..results import RunResult, Usage
    from ..tools import Tool, ToolOutcome


def unchanged(text: str) -> str:
    """A run without secrets: nothing is taken out of its texts."""
    return text


@dataclass(frozen=True, slots=True)
class RunStart:
    """What is known when a run begins.

    Attributes:
        agent: Name of the agent.
        run_id: Name of the run, or of the session that it belongs to.
        backend: The backend string, `Backend.name`.
        task: What the run is asked; None for a resumed one. Content: not recorded by default.
        json_answer: Whether the answer is held to a schema.
        redact: Takes secrets out of a text, before any content is recorded.
    """

    agent: str
    run_id: str
    backend: str
    task: str | None = None
    json_answer: bool = False
    redact: Callable[[str], str] = unchanged


class Answer(Protocol):
    """What a model request brought; the loop's `Turn` is one."""

    @property
    def message(self) -> AssistantMessage:
        """As it goes into the trajectory."""
        ...

    @property
    def finish_reason(self) -> str:
        """``stop``, ``length`` or ``tool_calls``."""
        ...

    @property
    def usage(self) -> Usage:
        """Of this request alone."""
        ...


class RunTrace(Protocol):
    """One run that is traced; its methods are called from any task of the run."""

    def model(
        self, request: ModelRequest, info: ModelInfo | None, step: int
    ) -> AbstractContextManager[Callable[[Answer], None]]:
        """Trace one model request; what the context yields takes the whole answer.

        Args:
            request: What is sent.
            info: What the backend serves, as far as it is known.
            step: Number of the model's message.
        """
        ...

    def tool(
        self, call: ToolCall, tool: Tool[..., Any] | None
    ) -> AbstractContextManager[Callable[[ToolOutcome], None]]:
        """Trace one call; what the context yields takes the outcome.

        Args:
            call: As it runs: approved, edited, checked by hooks.
            tool: What runs; None when there is no tool of that name.
        """
        ...

    def finished(self, result: RunResult) -> None:
        """Take how the run ended; not called when it ends with an exception."""
        ...


class Tracer(Protocol):
    """Makes a trace of each run; shared by concurrent runs, event loops and threads."""

    def run(self, start: RunStart) -> AbstractContextManager[RunTrace]:
        """Trace one run, below whatever span is current where it is called."""
        ...


def _ignore(ended: object) -> None:
    """Nobody records how it ended."""


# Shared, and entered any number of times at once: a `nullcontext` has no state.
_NOTHING = nullcontext(_ignore)


class _NoRun:
    """A run that nobody traces."""

    def model(
        self, request: ModelRequest, info: ModelInfo | None, step: int
    ) -> AbstractContextManager[Callable[[Answer], None]]:
        return _NOTHING

    def tool(
        self, call: ToolCall, tool: Tool[..., Any] | None
    ) -> AbstractContextManager[Callable[[ToolOutcome], None]]:
        return _NOTHING

    def finished(self, result: RunResult) -> None:
        pass


NO_TRACE: RunTrace = _NoRun()
"""A run that nobody traces."""

_NO_RUN = nullcontext(NO_TRACE)


class _NoTracer:
    """What stands in place of a tracer when none is configured."""

    def run(self, start: RunStart) -> AbstractContextManager[RunTrace]:
        return _NO_RUN


NO_TRACER: Tracer = _NoTracer()
"""Traces nothing, at the cost of one method call for each run, request and tool."""
