"""What a streamed run yields, in order, as one typed union.

Deltas are for display; what happened is in `ToolStarted`, `ToolFinished` and `RunFinished`. Call
ids are unique within a run. The parser's own events (`TextDelta` …) are passed on as they are.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from .hermes import ArgumentsDelta, CallFailed, CallParsed, CallStarted, ReasoningDelta, TextDelta
from .messages import ToolCall, ToolMessage
from .results import Plan, RunResult, Usage


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The first event of a run."""

    run_id: str
    task: str


@dataclass(frozen=True, slots=True)
class StepStarted:
    """The model is about to be asked for a message; ``step`` counts from 1."""

    step: int


@dataclass(frozen=True, slots=True)
class PlanMade:
    """The model's first plan, or one that replaces it (``plan.revision`` above 0)."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class PlanUpdated:
    """The status of the plan's steps changed."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A call is complete and valid and now runs."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolProgress:
    """Something that a running tool sent with ``ctx.emit``."""

    call_id: str
    payload: object


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A call was answered; ``observation`` is what the model will read."""

    observation: ToolMessage
    seconds: float


@dataclass(frozen=True, slots=True)
class ApprovalRequested:
    """The run ends as ``needs_approval`` unless it is decided by `Agent.resume`."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class Correction:
    """The model's answer could not be used; ``message`` tells it why."""

    message: str


@dataclass(frozen=True, slots=True)
class StepFinished:
    """A message of the model with its observations is done; ``usage`` is what its requests cost."""

    step: int
    usage: Usage


@dataclass(frozen=True, slots=True)
class Compacted:
    """The prompt was shortened: the next request has another beginning than the last one.

    Attributes:
        reason: Why, on one line.
        before: Tokens of the prompt before.
        after: About how many it has now.
    """

    reason: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The last event of a run."""

    result: RunResult


class Emit(Protocol):
    """Hands events to whoever reads them; those of one call belong together."""

    def __call__(self, *events: Event) -> Awaitable[None]: ...


ModelEvent = TextDelta | ReasoningDelta | CallStarted | ArgumentsDelta | CallParsed | CallFailed
Event = (
    RunStarted
    | StepStarted
    | PlanMade
    | PlanUpdated
    | ModelEvent
    | ToolStarted
    | ToolProgress
    | ToolFinished
    | ApprovalRequested
    | Correction
    | Compacted
    | StepFinished
    | RunFinished
)
