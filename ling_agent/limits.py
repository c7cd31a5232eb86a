"""What a run may cost, and how the model samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one run; each is checked before the cost is paid.

    A limit that is reached ends the run as a `RunResult` with its status, never as an exception.

    Attributes:
        max_steps: Messages of the model; one takes a request, or up to three with an inline plan,
            of a small model up to five.
        max_tool_calls: Executed calls; None means no bound. When they are used up the model is
            asked to answer with what it has; a further call ends the run.
        max_total_tokens: Prompt and completion tokens over all requests; None means no bound.
        timeout: Seconds of wall-clock time for the whole run; None means no bound.
        repeat_limit: The same call with the same arguments this many times in a row ends the run
            as ``repeating``; from the second time on it is answered with a reminder, not executed.
        max_parallel_tools: Calls of one message that run at the same time.
        max_corrections: Consecutive answers that cannot be used (unreadable call, nothing at all)
            before the run ends as ``failed``.
    """

    max_steps: int = 24
    max_tool_calls: int | None = None
    max_total_tokens: int | None = None
    timeout: float | None = None
    repeat_limit: int = 3
    max_parallel_tools: int = 8
    max_corrections: int = 2

    def __post_init__(self) -> None:
        for name, least in (("max_steps", 1), ("repeat_limit", 2), ("max_parallel_tools", 1)):
            _check(f"Limits.{name}", getattr(self, name), least=least, whole=True)
        _check("Limits.max_corrections", self.max_corrections, whole=True)
        for name in ("max_tool_calls", "max_total_tokens"):
            if getattr(self, name) is not None:
                _check(f"Limits.{name}", getattr(self, name), whole=True)
        if self.timeout is not None:
            _check("Limits.timeout", self.timeout)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen; always sent explicitly.

    Ling's ``generation_config`` names no temperature, so servers would use 1.0. The defaults are
    those of tool calling: a temperature of 0 is greedy and reproducible.

    Attributes:
        temperature: 0 is greedy.
        top_p: Nucleus, 1 is off.
        top_k: 0 is off.
        min_p: 0 is off.
        repetition_penalty: 1 is off.
        max_tokens: Longest single answer in tokens.
        seed: Of the random generator; only used when the temperature is above 0.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("temperature", "top_p", "min_p", "repetition_penalty"):
            _check(f"Sampling.{name}", getattr(self, name))
        if not 0 < self.top_p <= 1:
            raise ConfigurationError("Sampling.top_p must be above 0 and at most 1")
        if self.min_p > 1:
            raise ConfigurationError("Sampling.min_p must be at most 1")
        if not self.repetition_penalty:
            raise ConfigurationError("Sampling.repetition_penalty must be above 0; 1 is off")
        _check("Sampling.top_k", self.top_k, whole=True)
        _check("Sampling.max_tokens", self.max_tokens, least=1, whole=True)


def _check(name: str, value: object, *, least: int = 0, whole: bool = False) -> None:
    """Refuse what would otherwise fail somewhere in a run; ``math.inf`` is as good as no bound."""
    number = value if isinstance(value, int | float) and value is not True else math.nan
    if math.isnan(number) or (whole and number % 1 > 0):
        kind = "a whole number" if whole else "a number"
        raise ConfigurationError(f"{name} must be {kind}, not {value!r}")
    if number < least:
        raise ConfigurationError(f"{name} must be at least {least}")
