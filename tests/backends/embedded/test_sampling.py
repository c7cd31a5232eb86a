"""`Sampler` against a slow reference that sorts, and against the distributions that it draws from.

The draws are functions of the seed and the position, so that every count here is always the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ling_agent import Sampling
from ling_agent.backends.embedded.sampling import Sampler

Logits = NDArray[np.float32]
Mask = NDArray[np.bool_]

INF = math.inf


def logits_of(*values: float) -> Logits:
    return np.array(values, np.float32)


def mask_of(size: int, *tokens: int) -> Mask:
    mask = np.zeros(size, np.bool_)
    mask[list(tokens)] = True
    return mask


def reference(
    logits: Logits, sampling: Sampling, recent: Sequence[int] = (), allowed: Mask | None = None
) -> dict[int, float]:
    """Probabilities of the tokens that may be drawn, by the letter of llama.cpp's chain."""
    values = [float(value) for value in logits]
    for token in set(recent[-64:]):
        penalty = sampling.repetition_penalty
        values[token] = values[token] / penalty if values[token] > 0 else values[token] * penalty
    order = sorted(range(len(values)), key=lambda token: -values[token])
    if allowed is not None:
        kept = [token for token in _truncated(values, order, sampling) if allowed[token]]
        if not kept:
            kept = _truncated(values, [token for token in order if allowed[token]], sampling)
    else:
        kept = _truncated(values, order, sampling)
    best = max(values[token] for token in kept)
    weights = {
        token: math.exp((values[token] - best) / (sampling.temperature or 1.0)) for token in kept
    }
    total = sum(weights.values())
    return {token: weight / total for token, weight in weights.items() if weight}


def _truncated(values: Sequence[float], order: list[int], sampling: Sampling) -> list[int]:
    if not sampling.temperature:
        return order[:1]
    if sampling.top_k:
        order = order[: sampling.top_k]
    weights = [math.exp(values[token] - values[order[0]]) for token in order]
    if sampling.top_p < 1:
        mass = 0.0
        for count, weight in enumerate(weights, 1):
            mass += weight
            if mass >= sampling.top_p * sum(weights):
                order, weights = order[:count], weights[:count]
                break
    return [
        token
        for token, weight in zip(order, weights, strict=True)
        if not sampling.min_p or weight >= sampling.min_p
    ]


def draws(sampling: Sampling, logits: Logits, count: int, **options: Any) -> list[int]:
    sampler = Sampler(sampling)
    return [sampler.choose(logits, position=at, **options) for at in range(count)]


def assert_drawn_from(drawn: Sequence[int], expected: dict[int, float]) -> None:
    """A chi-square test whose bound is passed by chance in one of about 10,000 cases."""
    counts = np.bincount(drawn, minlength=max(expected) + 1)
    assert set(np.flatnonzero(counts).tolist()) <= set(expected)
    count = len(drawn)
    statistic = sum(
        (counts[token] - count * share) ** 2 / (count * share)
        for token, share in expected.items()
        if count * share >= 5
    )
    freedom = max(1, len(expected) - 1)
    assert statistic < freedom + 4 * math.sqrt(2 * freedom) + 8


# Multiples of 1/8 are exact in float32, and ties are frequent.
VALUES = st.integers(-160, 160).map(lambda value: value / 8)
LOGITS = st.lists(VALUES | st.just(-INF), min_size=1, max_size=600).filter(
    lambda values: max(values) > -INF
)
SAMPLINGS = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.3, 1.0, 1.7]),
    top_k=st.sampled_from([0, 1, 3, 40]),
    # No cumulative sum of the values above meets these exactly.
    top_p=st.sampled_from([0.1003, 0.5007, 0.9001, 1.0]),
    min_p=st.sampled_from([0.0, 0.0503, 0.31]),
    repetition_penalty=st.sampled_from([1.0, 1.25, 0.5]),
    seed=st.integers(0, 1 << 40),
)


@settings(max_examples=300, deadline=None)
@given(LOGITS, SAMPLINGS, st.data())
def test_every_token_is_one_that_the_reference_may_draw(
    values: list[float], sampling: Sampling, data: st.DataObject
) -> None:
    logits = logits_of(*values)
    logits.flags.writeable = False
    tokens = st.integers(0, len(values) - 1)
    recent = data.draw(st.lists(tokens, max_size=80))
    allowed = None
    if data.draw(st.booleans()):
        allowed = mask_of(len(values), *data.draw(st.sets(tokens, min_size=1)))
    sampler = Sampler(sampling)
    token = sampler.choose(
        logits, position=data.draw(st.integers(0, 99)), recent=recent, allowed=allowed
    )
    assert allowed is None or allowed[token]
    if allowed is None or np.isfinite(logits[allowed]).any():
        assert token in reference(logits, sampling, recent, allowed)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.4},
        {"temperature": 2.5},
        {"top_k": 7},
        {"top_p": 0.8},
        {"min_p": 0.1},
        {"top_k": 30, "top_p": 0.9, "min_p": 0.02, "temperature": 0.7},
        {"repetition_penalty": 1.4},
    ],
)
@pytest.mark.parametrize("masked", [False, True])
def test_the_draws_follow_the_distribution(options: dict[str, float], masked: bool) -> None:
    sampling = Sampling(**{"temperature": 1.0, "seed": 5, **options})  # pyright: ignore[reportArgumentType]
    logits = np.random.default_rng(3).normal(0, 2, 700).astype(np.float32)
    recent = [int(logits.argmax()), 3, 3, 9]
    allowed = np.arange(700) % 3 > 0 if masked else None
    drawn = draws(sampling, logits, 5_000, recent=recent, allowed=allowed)
    assert_drawn_from(drawn, reference(logits, sampling, recent, allowed))


@pytest.mark.parametrize("options", [{}, {"top_p": 0.7}, {"top_k": 5, "temperature": 0.6}])
def test_drawing_again_after_a_refusal_gives_the_conditional_distribution(
    options: dict[str, float],
) -> None:
    sampling = Sampling(**{"temperature": 1.0, "seed": 11, **options})  # pyright: ignore[reportArgumentType]
    logits = np.random.default_rng(8).normal(0, 1.5, 40).astype(np.float32)
    allowed = np.arange(40) % 2 == 0
    sampler = Sampler(sampling)
    drawn: list[int] = []
    for position in range(5_000):
        token = sampler.choose(logits, position=position)
        if not allowed[token]:
            token = sampler.choose(logits, position=position, allowed=allowed)
        drawn.append(token)
    assert_drawn_from(drawn, reference(logits, sampling, allowed=allowed))


def test_attempts_at_one_position_are_independent_of_each_other() -> None:
    sampler = Sampler(Sampling(temperature=1.0))
    logits, allowed = logits_of(0, 0), mask_of(2, 0, 1)
    pairs = [
        2 * sampler.choose(logits, position=at, allowed=allowed, attempt=1)
        + sampler.choose(logits, position=at, allowed=allowed, attempt=2)
        for at in range(4000)
    ]
    assert_drawn_from(pairs, dict.fromkeys(range(4), 0.25))


def test_a_draw_depends_on_its_seed_and_position_only() -> None:
    logits = np.random.default_rng(0).normal(0, 1, 500).astype(np.float32)
    sampling = Sampling(temperature=1.0, seed=4)
    first = draws(sampling, logits, 50)
    again = Sampler(sampling)
    for position in reversed(range(50)):
        again.choose(logits, position=position, allowed=mask_of(500, 3, 4))
        assert again.choose(logits, position=position) == first[position]
    assert draws(Sampling(temperature=1.0, seed=5), logits, 50) != first
    assert len(set(first)) > 25


def test_greedy_takes_the_first_maximum() -> None:
    sampler = Sampler(Sampling(temperature=0.0, top_p=0.5, top_k=2, min_p=0.1))
    logits = logits_of(1, 7, 7, -3)
    assert sampler.choose(logits, position=0) == 1
    assert sampler.choose(logits, position=1, allowed=mask_of(4, 2, 3)) == 2
    assert sampler.choose(logits, position=2, allowed=mask_of(4, 0, 3)) == 0


def test_the_penalty_counts_a_token_once_and_forgets_it_after_64() -> None:
    sampler = Sampler(Sampling(temperature=0.0, repetition_penalty=2.0))
    assert sampler.penalises
    assert not Sampler(Sampling()).penalises
    logits = logits_of(4, 2.5, 1.5)
    assert sampler.choose(logits, position=0) == 0
    assert sampler.choose(logits, position=0, recent=[0]) == 1
    # Twice would make 1 of it, which is less than what the third one has.
    assert sampler.choose(logits, position=0, recent=[0, 0, 1]) == 0
    assert sampler.choose(logits, position=0, recent=[0] + [2] * 64) == 0
    assert logits.tolist() == [4, 2.5, 1.5]


def test_a_penalty_makes_negative_logits_smaller() -> None:
    sampler = Sampler(Sampling(temperature=0.0, repetition_penalty=2.0))
    assert sampler.choose(logits_of(-1, -1.5), position=0, recent=[0]) == 1


def test_a_mask_below_the_truncation_truncates_what_is_left() -> None:
    logits = logits_of(20, 19, 2, 1, 0)
    allowed = mask_of(5, 2, 3, 4)
    sampling = Sampling(temperature=1.0, top_k=2)
    expected = reference(logits, sampling, allowed=allowed)
    assert set(expected) == {2, 3}
    assert_drawn_from(draws(sampling, logits, 4000, allowed=allowed), expected)


@pytest.mark.parametrize("options", [{}, {"top_k": 3}, {"top_p": 0.9}, {"min_p": 0.01}])
@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_what_is_no_number_is_not_chosen(options: dict[str, float], temperature: float) -> None:
    sampling = Sampling(temperature=temperature, **options)  # pyright: ignore[reportArgumentType]
    logits = logits_of(-INF, math.nan, -5, -INF, -5)
    assert set(draws(sampling, logits, 100)) <= {2, 4}
    some = mask_of(5, 0, 1, 4)
    assert set(draws(sampling, logits, 100, allowed=some)) == {4}
    # There is nothing better among these, and an answer has to go on.
    assert set(draws(sampling, logits, 20, allowed=mask_of(5, 0, 3))) <= {0, 3}
    assert set(draws(sampling, logits_of(1, INF, 2), 20)) == {1}
    assert set(draws(sampling, logits_of(-INF, -INF), 20)) <= {0, 1}


def test_a_mask_that_allows_nothing_is_an_error() -> None:
    for sampling in (Sampling(), Sampling(temperature=1.0), Sampling(temperature=1.0, top_k=2)):
        with pytest.raises(ValueError, match="no token is allowed"):
            Sampler(sampling).choose(logits_of(1, 2), position=0, allowed=mask_of(2))


@pytest.mark.parametrize("spread", [0.05, 1.0, 6.0])
@pytest.mark.parametrize("top_p", [0.2, 0.95, 0.9999])
def test_the_nucleus_of_a_large_vocabulary_is_the_smallest_one(spread: float, top_p: float) -> None:
    logits = np.random.default_rng(1).normal(0, spread, 20_000).astype(np.float32)
    drawn = draws(Sampling(temperature=50.0, top_p=top_p), logits, 600)
    weights: NDArray[np.float64] = np.sort(np.exp(logits.astype(np.float64)))[::-1]
    size = int(np.searchsorted(np.cumsum(weights), top_p * float(weights.sum()))) + 1
    order: list[int] = np.argsort(-logits, kind="stable").tolist()
    # One more or less: sums of float32 end differently.
    assert set(drawn) <= set(order[: size + max(1, size // 1000)])
    assert len(set(drawn)) > min(size, 600) * 0.5
