"""What a streamed run yields, in order, as one typed union.

A call runs as soon as it is complete, so `ToolStarted`, `ToolProgress` and `ToolFinished` may come
between the deltas of a later call of the same message; `StepFinished` comes behind them all. Deltas
are for display; what happened is in `ToolStarted`, `ToolFinished` and `RunFinished`. Call ids are
unique within a run. The parser's own events (`TextDelta` …) are passed on as they are.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Protocol

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
class PrefillProgress:
    """The model reads a long prompt.

    Attributes:
        tokens: How many tokens of it are done, those from the prefix cache included.
        total: Of how many.
    """

    tokens: int
    total: int


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
    """A call is complete and now runs, unless its arguments do not fit: then it was answered."""

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
    """A call waits for the agent's ``approve`` function.

    Without one, and where that leaves it open, the run ends as ``needs_approval``, and
    `Agent.resume` takes the decision.
    """

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
class SubagentEvent:
    """Something that happened in the run of a sub-agent (`Agent.as_tool`).

    Attributes:
        call_id: The call that it works for.
        agent: Its name.
        run_id: Name of its run.
        event: What happened; itself a `SubagentEvent` where that agent has sub-agents.
    """

    call_id: str
    agent: str
    run_id: str
    event: Event


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The last event of a run."""

    result: RunResult[Any]


class Emit(Protocol):
    """Hands events to whoever reads them; those of one call belong together."""

    def __call__(self, *events: Event) -> Awaitable[None]: ...


ModelEvent = (
    PrefillProgress
    | TextDelta
    | ReasoningDelta
    | CallStarted
    | ArgumentsDelta
    | CallParsed
    | CallFailed
)
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
    | SubagentEvent
    | StepFinished
    | RunFinished
)
