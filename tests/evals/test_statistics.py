"""Intervals and p-values against values that others have published or that can be counted."""

from __future__ import annotations

import itertools
import math

import pytest

from ling_agent.evals.statistics import Rate, macro_average, mcnemar, wilson


@pytest.mark.parametrize(
    ("passed", "total", "low", "high"),
    [
        # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_as_published(passed: int, total: int, low: float, high: float) -> None:
    rate = wilson(passed, total)
    assert rate.value == passed / total
    assert (round(rate.low, 4), round(rate.high, 4)) == (low, high)


def test_wilson_is_symmetric_and_narrows() -> None:
    for passed in range(11):
        rate, other = wilson(passed, 10), wilson(10 - passed, 10)
        assert rate.low == pytest.approx(1 - other.high)
        assert 0 <= rate.low <= rate.value <= rate.high <= 1
    assert wilson(50, 100).high < wilson(5, 10).high
    assert wilson(0, 0) == Rate(0.0, 0.0, 1.0)


def test_the_interval_of_a_macro_average() -> None:
    rates = [wilson(5, 10), wilson(10, 10)]
    mean = macro_average(rates)
    assert mean.value == 0.75
    below = math.hypot(0.5 - rates[0].low, 1 - rates[1].low) / 2
    assert mean.low == pytest.approx(0.75 - below)
    assert mean.high == pytest.approx(0.75 + (rates[0].high - 0.5) / 2)
    assert macro_average([wilson(3, 7)]).low == pytest.approx(wilson(3, 7).low)
    assert macro_average([]) == Rate(0.0, 0.0, 1.0)


@pytest.mark.parametrize("pair", [(0, 0), (1, 0), (3, 3), (1, 5), (2, 9), (0, 10)])
def test_mcnemar_counts_what_coins_do(pair: tuple[int, int]) -> None:
    tosses = list(itertools.product((0, 1), repeat=sum(pair)))
    middle = sum(pair) / 2
    as_far = [t for t in tosses if abs(sum(t) - middle) >= abs(pair[0] - middle)]
    assert mcnemar(*pair) == pytest.approx(len(as_far) / len(tosses))
    assert mcnemar(*pair) == mcnemar(*reversed(pair))


def test_mcnemar_of_thousands() -> None:
    assert mcnemar(0, 4000) < 1e-300
    assert mcnemar(2000, 2000) == 1.0
