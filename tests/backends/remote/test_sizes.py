"""The size of a model, as its name tells it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ling_agent.backends.remote.sizes import parameters_of


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("Qwen2.5-Coder-0.5B-Instruct", 500_000_000),
        ("qwen2.5:0.5b", 500_000_000),
        ("org/Model-7B", 7_000_000_000),
        ("/models/13b/Model-70B-chat", 70_000_000_000),
        ("/models/Model-7B/", 7_000_000_000),
        ("smollm-135m", 135_000_000),
        ("model 3 b", 3_000_000_000),
        ("ling-2.6-flash", None),
        ("gpt-4.1-mini", None),
        ("model-4bit", None),
        ("model-8bpw", None),
        ("v2beta", None),
        ("", None),
    ],
)
def test_the_size_by_name(name: str, size: int | None) -> None:
    assert parameters_of(name) == size


def test_the_first_name_that_tells_counts() -> None:
    assert parameters_of("m", "/models/Qwen2.5-0.5B") == 500_000_000
    assert parameters_of("served-7b", "/models/Qwen2.5-0.5B") == 7_000_000_000
    assert parameters_of("m", "") is None
    assert parameters_of() is None


@given(st.text())
def test_any_name_is_taken(name: str) -> None:
    size = parameters_of(name)
    assert size is None or size >= 0
