"""Progress: lines with an estimate, and the estimate itself."""

from __future__ import annotations

import dataclasses
import io

import pytest

from ling_agent.evals.benchmark import Case, Outcome
from ling_agent.evals.progress import Estimate, LineEvalProgress, duration, estimated

from .test_results import outcome


def cases(**counts: int) -> list[Case]:
    return [Case(f"{name}_{n}", name, {}) for name, count in counts.items() for n in range(count)]


def took(category: str, seconds: float, *, passed: bool = True) -> Outcome:
    made = outcome(f"{category}_x", category=category)
    return dataclasses.replace(made, seconds=seconds, passed=passed)


def test_nothing_is_estimated_before_anything_is_known() -> None:
    assert Estimate(cases(quick=3), [], 1).seconds() is None
    assert Estimate([], [], 1).seconds() == 0.0


def test_each_category_takes_what_its_cases_took() -> None:
    estimate = Estimate(cases(quick=3, slow=2, unknown=1), [took("slow", 30.0)], 1)
    # quick and unknown are not known: 30 each.
    assert estimate.seconds() == 180.0
    assert estimate.add(took("quick", 2.0)) == 2 * 2.0 + 2 * 30.0 + 16.0
    assert estimate.add(took("slow", 10.0)) == 2 * 2.0 + 20.0 + 11.0


def test_cases_at_the_same_time_share_the_time() -> None:
    estimate = Estimate(cases(quick=9), [took("quick", 4.0)], 4)
    assert estimate.seconds() == 9.0
    assert Estimate(cases(quick=2), [took("quick", 4.0)], 4).seconds() == 4.0


def test_a_line_for_each_tenth_and_for_each_minute() -> None:
    stream, now = io.StringIO(), [0.0]
    progress = LineEvalProgress(stream, lambda: now[0])
    progress.start("sums", 100, [took("quick", 1.0)] * 10)
    for number in range(25):
        progress.update(took("quick", 1.0, passed=number % 2 == 0), 75.0)
    now[0] = 61.0
    progress.update(took("quick", 1.0), None)
    progress.close()
    assert stream.getvalue().splitlines() == [
        "sums: 100 cases, 10 done before",
        "sums: 20 of 100 cases, 15 passed, about 75 s left",
        "sums: 30 of 100 cases, 20 passed, about 75 s left",
        "sums: 36 of 100 cases, 24 passed",
    ]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.04, "0.0 s"), (8.54, "8.5 s"), (45, "45 s"), (700, "12 min"), (12_000, "3 h 20 min")],
)
def test_durations(seconds: float, told: str) -> None:
    assert duration(seconds) == told
    assert estimated(seconds) == (f", about {told} left" if seconds >= 1 else "")
    assert estimated(None) == estimated(0.0) == ""
