"""What a run leaves behind: status, output, plan, usage."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Generic

from typing_extensions import TypeVar

from .messages import AssistantMessage, ToolCall, ToolMessage

if TYPE_CHECKING:
    from .errors import LingAgentError
    from .memory.trajectory import Trajectory


OutT = TypeVar("OutT", default=str)
"""Type of a run's output: the agent's ``output_type``."""


class RunStatus(StrEnum):
    """How a run ended. Everything but ``completed`` can be resumed with `Agent.resume`."""

    completed = "completed"
    max_steps = "max_steps"
    max_tool_calls = "max_tool_calls"
    max_tokens = "max_tokens"
    timeout = "timeout"
    repeating = "repeating"
    needs_approval = "needs_approval"
    stopped = "stopped"
    cancelled = "cancelled"
    failed = "failed"


@dataclass(frozen=True, slots=True)
class Usage:
    """Cost, of one request or of a run.

    Attributes:
        prompt_tokens: Tokens of all prompts, reused ones included.
        completion_tokens: Tokens that the model generated.
        cached_tokens: Prompt tokens that were reused from the prefix cache; None when the server
            does not say, which is not 0.
        requests: Model requests.
        tool_calls: Executed calls.
        seconds: Wall-clock time in the model (of a request) or of the run.
        prefill_seconds: Time until the first token was there; 0 when unknown.
        decode_seconds: Time from the first token to the last; 0 when unknown.
        constrained_tokens: Generated tokens that a grammar was held to; only the embedded engine
            counts them.
        forced_tokens: Those of them that had to follow: they were appended without being chosen.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int | None = None
    requests: int = 0
    tool_calls: int = 0
    seconds: float = 0.0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    constrained_tokens: int = 0
    forced_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def decode_tokens_per_second(self) -> float | None:
        """Generated tokens per second; None when the time is not known."""
        return self.completion_tokens / self.decode_seconds if self.decode_seconds else None

    @property
    def evaluated_tokens(self) -> int | None:
        """Prompt tokens that were computed and not reused; None when the server does not say."""
        return None if self.cached_tokens is None else self.prompt_tokens - self.cached_tokens

    @property
    def prefill_tokens_per_second(self) -> float | None:
        """Evaluated prompt tokens per second; None when either is not known."""
        evaluated = self.evaluated_tokens
        if evaluated is None or not self.prefill_seconds:
            return None
        return evaluated / self.prefill_seconds

    def __add__(self, other: Usage) -> Usage:
        known = [c for c in (self.cached_tokens, other.cached_tokens) if c is not None]
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cached_tokens=sum(known) if known else None,
            requests=self.requests + other.requests,
            tool_calls=self.tool_calls + other.tool_calls,
            seconds=self.seconds + other.seconds,
            prefill_seconds=self.prefill_seconds + other.prefill_seconds,
            decode_seconds=self.decode_seconds + other.decode_seconds,
            constrained_tokens=self.constrained_tokens + other.constrained_tokens,
            forced_tokens=self.forced_tokens + other.forced_tokens,
        )


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step of a plan; ``status`` is ``pending``, ``done`` or ``dropped``."""

    text: str
    status: str = "pending"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the model means to do.

    Attributes:
        text: The plan as the model wrote it.
        steps: Its steps in order, each with its status.
        revision: 0 for the first plan, one more for each that replaced it.
    """

    text: str
    steps: tuple[PlanStep, ...] = ()
    revision: int = 0

    def __str__(self) -> str:
        marks = {"pending": " ", "done": "x", "dropped": "-"}
        return "\n".join(f"[{marks[step.status]}] {step.text}" for step in self.steps) or self.text


@dataclass(frozen=True, slots=True)
class Step:
    """One message of the model with what followed from it; ``index`` counts from 1."""

    index: int
    message: AssistantMessage
    observations: tuple[ToolMessage, ...] = ()
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class ContextUse:
    """How full the context window was at the end of a run.

    Attributes:
        tokens: Of the conversation as the next prompt would show it.
        window: Tokens that the model accepts, prompt and answer together; None when unknown.
        source: Where the count comes from: ``tokenizer`` (the newest request's usage, and the
            model's tokenizer for what came after it), ``usage`` (the same, with an estimate by
            the bytes per token that usage has shown), or ``estimate`` (by bytes alone).
    """

    tokens: int
    window: int | None
    source: str


@dataclass(
    frozen=True
)  # without slots: `RunResult[str](…)` could not be written before Python 3.12
class RunResult(Generic[OutT]):
    """The end of a run, whatever ended it; nothing that was done is lost.

    Attributes:
        output: The answer, of the agent's ``output_type``. When a limit or a stop cut one that is
            text, what there is of it; else None.
        status: How the run ended.
        plan: The newest plan, or None.
        steps: The model's messages in order.
        usage: Cost of the whole run; ``seconds`` is its wall-clock time.
        trajectory: Everything that was said and done, append-only.
        run_id: For `Agent.resume`.
        error: Why the status is ``failed``; None otherwise.
        pending_approvals: Calls that wait for a decision, when the status is ``needs_approval``.
        notes: What was degraded or decided on the way, one line each.
        context: How full the context window is; None for a run that ended before it was known.
    """

    output: OutT | None
    status: RunStatus
    plan: Plan | None
    steps: tuple[Step, ...]
    usage: Usage
    trajectory: Trajectory
    run_id: str
    error: LingAgentError | None = None
    pending_approvals: tuple[ToolCall, ...] = ()
    notes: tuple[str, ...] = ()
    context: ContextUse | None = None

    @property
    def ok(self) -> bool:
        """Whether the run completed."""
        return self.status is RunStatus.completed
