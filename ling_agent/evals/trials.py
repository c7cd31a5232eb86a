"""`pass_hat`: how often a task that was run several times passes each time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import comb

from .benchmark import Outcome

_TRIAL = re.compile(r"#\d+$")
"""At the end of a case's id: which trial of its task it is."""


def pass_hat(outcomes: Sequence[Outcome]) -> dict[int, float]:
    """pass^k by k: the chance that k trials of a task, drawn from those that were run, all pass.

    As tau2 computes it: for each task with n trials, c of which passed, ``C(c, k) / C(n, k)``; then
    the mean over the tasks. k goes up to the fewest trials of any task.

    Args:
        outcomes: Ids that differ in their ``#N`` alone are trials of one task.
    """
    trials: dict[str, list[bool]] = {}
    for outcome in outcomes:
        trials.setdefault(_TRIAL.sub("", outcome.case), []).append(outcome.passed)
    fewest = min(map(len, trials.values()), default=0)
    return {
        k: sum(comb(sum(t), k) / comb(len(t), k) for t in trials.values()) / len(trials)
        for k in range(1, fewest + 1)
    }
