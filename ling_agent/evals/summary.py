"""`Summary`: the results of one evaluation, counted."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..results import Usage
from .benchmark import Outcome
from .results import Results
from .statistics import Rate, macro_average, wilson
from .trials import pass_hat


@dataclass(frozen=True, slots=True)
class Tally:
    """What came out of several cases.

    Attributes:
        cases: How many were run.
        passed: How many the judge let pass.
        errors: How many could not be judged.
        timeouts: How many did not end.
        repaired: In how many a call had to be repaired.
        score: Mean score.
        usage: Tokens and requests of all.
        seconds: Wall-clock time of all, those at the same time added up.
        median_seconds: Of one case.
    """

    cases: int
    passed: int
    errors: int
    timeouts: int
    repaired: int
    score: float
    usage: Usage
    seconds: float
    median_seconds: float

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> Tally:
        """Count them."""
        seconds = [outcome.seconds for outcome in outcomes]
        return cls(
            cases=len(outcomes),
            passed=sum(outcome.passed for outcome in outcomes),
            errors=sum(bool(outcome.error) for outcome in outcomes),
            timeouts=sum(outcome.status == "timeout" for outcome in outcomes),
            repaired=sum(bool(outcome.repairs) for outcome in outcomes),
            score=statistics.fmean(o.score for o in outcomes) if outcomes else 0.0,
            usage=sum((outcome.usage for outcome in outcomes), Usage()),
            seconds=sum(seconds),
            median_seconds=statistics.median(seconds) if seconds else 0.0,
        )

    @property
    def rate(self) -> Rate:
        """The share that passed, with its 95 % interval."""
        return wilson(self.passed, self.cases)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "cases": self.cases,
            "passed": self.passed,
            **_rate_to_json(self.rate),
            "score": self.score,
            "errors": self.errors,
            "timeouts": self.timeouts,
            "repaired": self.repaired,
            "prompt_tokens": self.usage.prompt_tokens,
            "completion_tokens": self.usage.completion_tokens,
            "requests": self.usage.requests,
            "seconds": round(self.seconds, 3),
            "median_seconds": round(self.median_seconds, 3),
        }


@dataclass(frozen=True, slots=True)
class Summary:
    """An evaluation in numbers.

    Attributes:
        results: What was counted.
        categories: Each with its cases, in the benchmark's order.
        total: All cases together.
        macro: Mean of the shares of the headline's categories; None when none of them was run.
        averaged: The categories of which it is the mean: the headline's that have a case.
        repairs: How often each repair was made.
        pass_hat: See `pass_hat`; empty where no task was run more than once.
    """

    results: Results
    categories: Mapping[str, Tally]
    total: Tally
    macro: Rate | None
    averaged: tuple[str, ...]
    repairs: Mapping[str, int]
    pass_hat: Mapping[int, float]

    @property
    def failures(self) -> list[Outcome]:
        """The cases that did not pass."""
        return [outcome for outcome in self.results.outcomes if not outcome.passed]

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        manifest = self.results.manifest
        return {
            "directory": str(self.results.directory),
            "benchmark": manifest.benchmark,
            "benchmark_version": manifest.benchmark_version,
            "ling_agent": manifest.ling_agent,
            "subject": dict(manifest.subject),
            "complete": self.results.complete,
            "stopped": self.results.stopped,
            "expected": manifest.total,
            "macro": _rate_to_json(self.macro) if self.macro else None,
            "averaged": list(self.averaged),
            "total": self.total.to_json(),
            "categories": {name: tally.to_json() for name, tally in self.categories.items()},
            "repairs": dict(self.repairs),
            "pass_hat": {str(k): value for k, value in self.pass_hat.items()},
        }


def summarize(results: Results) -> Summary:
    """Count the results."""
    categories = tallies(results.outcomes, results.manifest.cases)
    repeated = pass_hat(results.outcomes)
    averaged = tuple(name for name in results.manifest.headline if name in categories)
    return Summary(
        results=results,
        categories=categories,
        total=Tally.of(results.outcomes),
        macro=macro_average([categories[name].rate for name in averaged]) if averaged else None,
        averaged=averaged,
        repairs=dict(Counter(r for o in results.outcomes for r in o.repairs).most_common()),
        pass_hat=repeated if len(repeated) > 1 else {},
    )


def tallies(outcomes: Iterable[Outcome], order: Iterable[str]) -> dict[str, Tally]:
    """The cases of each category that has any."""
    grouped: dict[str, list[Outcome]] = {name: [] for name in order}
    for outcome in outcomes:
        grouped.setdefault(outcome.category, []).append(outcome)
    return {name: Tally.of(several) for name, several in grouped.items() if several}


def _rate_to_json(rate: Rate) -> dict[str, float]:
    return {"rate": rate.value, "low": rate.low, "high": rate.high}
