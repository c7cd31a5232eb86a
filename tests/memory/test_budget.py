"""How a window is divided, and sizes in tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ling_agent.memory.budget import Meter, divide


def test_a_window_is_divided() -> None:
    budget = divide(32768, answer=1024, high_watermark=0.85, low_watermark=0.5)
    assert (budget.window, budget.high, budget.low) == (32768, 27852, 16384)
    assert (budget.observation, budget.record) == (4096, 2048)


@given(
    st.integers(512, 2_000_000),
    st.integers(1, 100_000),
    st.floats(0.02, 1),
    st.floats(0.01, 0.99),
    st.none() | st.integers(32, 100_000),
)
def test_the_parts_fit(
    window: int, answer: int, high: float, share: float, own: int | None
) -> None:
    budget = divide(
        window,
        answer=answer,
        high_watermark=high,
        low_watermark=high * share,
        max_observation_tokens=own,
    )
    assert budget.high + min(answer, window // 4) <= window, "there is room for the answer"
    assert budget.low <= budget.high
    assert 0 < budget.observation <= budget.high or budget.high == 0
    assert budget.record < window


def test_room_for_the_answer_goes_before_the_watermark() -> None:
    assert divide(4096, answer=1024, high_watermark=1, low_watermark=0.5).high == 3072
    assert divide(4096, answer=9999, high_watermark=1, low_watermark=0.5).high == 3072


def test_a_meter_learns_from_counts() -> None:
    meter = Meter()
    assert not meter.calibrated
    assert meter.tokens(300) == 108
    meter.learn(100, 400)
    assert meter.calibrated
    assert (meter.ratio, meter.tokens(400), meter.tokens(0, 0)) == (0.25, 108, 0)
    assert meter.bytes(100) == 400
    assert meter.at_most(400) == 408
    meter.learn(0, 400)
    meter.learn(400, 0)
    assert meter.ratio == 0.25, "no counts"
    meter.learn(10_000, 1)
    assert meter.ratio == 1.5, "not what a strange count says"


@pytest.mark.parametrize("ratio", [0.05, 0.25, 0.7, 1.5])
@given(st.integers(0, 100_000))
def test_upper_bounds_are_above(ratio: float, size: int) -> None:
    meter = Meter()
    meter.learn(int(ratio * 1000), 1000)
    assert meter.at_most(size) >= meter.tokens(size)
    assert meter.tokens(meter.bytes(size), 0) <= size + 1
