"""pass^k: the chance that several trials of one task all pass."""

from __future__ import annotations

import dataclasses

import pytest

from ling_agent.evals.benchmark import Outcome
from ling_agent.evals.trials import pass_hat

from .test_results import outcome


def outcomes_of(passed: dict[str, list[bool]]) -> list[Outcome]:
    return [
        dataclasses.replace(outcome(f"{task}#{n}"), passed=one)
        for task, trials in passed.items()
        for n, one in enumerate(trials)
    ]


def test_it_is_the_mean_over_the_tasks() -> None:
    outcomes = outcomes_of({"mock/a": [True] * 4, "mock/b": [True, True, False, False]})
    # of b: 2/4, 1/6, 0, 0
    assert pass_hat(outcomes) == pytest.approx({1: 0.75, 2: 7 / 12, 3: 0.5, 4: 0.5})


def test_the_task_with_the_fewest_trials_bounds_k() -> None:
    assert pass_hat(outcomes_of({"a": [True, True], "b": [False]})) == {1: 0.5}
    assert pass_hat([]) == {}


def test_cases_without_trials_are_tasks_of_their_own() -> None:
    several = [outcome("simple_1"), outcome("simple_2"), outcome("C#"), outcome("a#b")]
    assert pass_hat(several) == {1: 1.0}
