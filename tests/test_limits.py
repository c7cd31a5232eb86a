"""Limits and sampling refuse values that mean nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ling_agent import ConfigurationError, Limits, Sampling


def test_the_defaults_are_the_contracts() -> None:
    limits = Limits()
    assert (limits.max_steps, limits.repeat_limit, limits.max_parallel_tools) == (24, 3, 8)
    assert (limits.max_tool_calls, limits.max_total_tokens, limits.timeout) == (None, None, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_steps", 0),
        ("repeat_limit", 1),
        ("max_parallel_tools", 0),
        ("max_tool_calls", -1),
        ("max_total_tokens", -1),
        ("timeout", -0.1),
        ("max_corrections", -1),
        ("max_steps", None),
        ("max_steps", "5"),
        ("max_tool_calls", True),
        ("max_parallel_tools", 1.5),
        ("timeout", "5"),
        ("timeout", math.nan),
    ],
)
def test_a_wrong_limit_is_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"Limits.{name}"):
        Limits(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -1.0),
        ("temperature", math.nan),
        ("top_p", 0.0),
        ("top_p", 1.5),
        ("top_k", -1),
        ("min_p", 2.0),
        ("repetition_penalty", 0.0),
        ("max_tokens", 0),
        ("max_tokens", None),
    ],
)
def test_a_wrong_sampling_value_is_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"Sampling.{name}"):
        Sampling(**{name: value})


def test_no_bound_may_be_written_as_infinity() -> None:
    assert Limits(max_steps=math.inf, timeout=math.inf).timeout == math.inf  # type: ignore[arg-type]
