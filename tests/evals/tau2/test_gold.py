"""The package's gold actions, replayed through our agent, earn their reward; spoiled ones do not.

The split that scores are published for, in all four domains. All of it takes three minutes of
processor time, so that ``TAU2_GOLD=all`` asks for it; otherwise at most 15 tasks of a domain are
replayed, always the same ones.
"""

from __future__ import annotations

import os

import pytest

from ling_agent.evals.benchmark import Case, Selection
from ling_agent.evals.tau2 import Tau2Benchmark
from ling_agent.evals.tau2.tasks import DOMAINS, select

from .gold import (
    WITHOUT_EFFECT,
    WITHOUT_GOLD,
    gold_actions,
    needs_telling,
    play,
    scripts,
    task_of,
    writes,
)

SIZES = {"mock": 9, "airline": 50, "retail": 114, "telecom": 114}
MOST = None if os.environ.get("TAU2_GOLD") == "all" else 15
"""Tasks of a domain that are replayed."""


@pytest.fixture
def anyio_backend() -> str:
    """The replays take minutes: other tests of the benchmark run on both event loops."""
    return "asyncio"


def cases_of(domain: str, limit: int | None = None) -> list[Case]:
    return select(Selection(limit=limit), domains=(domain,), split="base", trials=1)


def test_they_are_all_domains() -> None:
    assert set(DOMAINS) == set(SIZES)
    assert Tau2Benchmark.name == "tau2"


@pytest.mark.anyio
@pytest.mark.parametrize("domain", DOMAINS)
async def test_gold_actions_earn_the_reward(domain: str) -> None:
    assert len(cases_of(domain)) == SIZES[domain]
    cases = cases_of(domain, MOST)
    assert len(cases) == min(SIZES[domain], MOST or SIZES[domain])
    lost: dict[str, str] = {}
    for case in cases:
        task = task_of(case)
        agent, user = scripts(task, gold_actions(task))
        outcome = await play(case, agent, user)
        assert (outcome.error, outcome.status) == ("", "user_stop"), case.id
        if not outcome.passed:
            lost[task.id] = outcome.verdict
    assert set(lost) == {task_of(case).id for case in cases} & WITHOUT_GOLD, lost


@pytest.mark.anyio
@pytest.mark.parametrize("domain", DOMAINS)
async def test_without_the_actions_that_count_there_is_no_reward(domain: str) -> None:
    spoiled, broke, passed = 0, set[str](), set[str]()
    cases = cases_of(domain, MOST)
    for case in cases:
        task = task_of(case)
        actions = gold_actions(task)
        counts = [action for action in actions if writes(domain, action)]
        in_basis = "ACTION" in [kind.value for kind in task.evaluation_criteria.reward_basis]
        if not (counts or in_basis or needs_telling(task)):
            continue  # to do nothing is right there
        spoiled += 1
        kept = [] if in_basis else [action for action in actions if action not in counts]
        outcome = await play(case, *scripts(task, kept, tells=False))
        assert (outcome.passed, outcome.score) in ((True, 1.0), (False, 0.0)), case.id
        assert (outcome.verdict == "ok") is outcome.passed
        if outcome.passed:
            passed.add(case.id)
        if outcome.error:  # an assertion about what is not there is more than the evaluator bears
            broke.add(task.id)
    assert spoiled > len(cases) // 3
    assert passed == {case.id for case in cases} & WITHOUT_EFFECT
    assert broke <= {"create_task_1_with_env_assertions"}
