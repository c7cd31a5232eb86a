"""How sure a count is: Wilson intervals, the interval of a macro average, McNemar's exact test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_Z = 1.959963984540054
"""Of the normal distribution: 95 % lie within this many standard deviations."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with its 95 % interval, all from 0 to 1."""

    value: float
    low: float
    high: float


def wilson(passed: int, total: int) -> Rate:
    """The share that passed, with Wilson's score interval (E. B. Wilson, JASA 22, 1927).

    Unlike the textbook interval it stays within 0 and 1, and is not empty where nothing or all
    passed. Of no cases nothing is known: 0 to 1.
    """
    if not total:
        return Rate(0.0, 0.0, 1.0)
    share, z2 = passed / total, _Z * _Z
    centre = share + z2 / (2 * total)
    margin = _Z * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    scale = 1 + z2 / total
    low = 0.0 if passed == 0 else (centre - margin) / scale
    high = 1.0 if passed == total else (centre + margin) / scale
    return Rate(share, low, high)


def macro_average(rates: Sequence[Rate]) -> Rate:
    """The mean of independent shares, each of which weighs the same, with its interval.

    The interval is put together from theirs by the squares of the distances (MOVER: G. Y. Zou and
    A. Donner, Statistics in Medicine 27, 2008).
    """
    if not rates:
        return Rate(0.0, 0.0, 1.0)
    mean = sum(rate.value for rate in rates) / len(rates)
    below = math.sqrt(sum((rate.value - rate.low) ** 2 for rate in rates)) / len(rates)
    above = math.sqrt(sum((rate.high - rate.value) ** 2 for rate in rates)) / len(rates)
    return Rate(mean, max(0.0, mean - below), min(1.0, mean + above))


def mcnemar(only_first: int, only_second: int) -> float:
    """How often two equally good subjects differ at least so much: McNemar's exact test, two-sided.

    Args:
        only_first: Cases that only the first one passed.
        only_second: Cases that only the second one passed.

    Returns:
        The p-value: with fair coins for the cases on which they differ.
    """
    differ = only_first + only_second
    tail = sum(math.comb(differ, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / 2**differ)
