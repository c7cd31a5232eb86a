"""A served model's family, by its name."""

from __future__ import annotations

import pytest

from ling_agent.profiles import CHATML, LING2, profile_for_name


@pytest.mark.parametrize(
    "names",
    [
        ("ling-2.6-flash",),
        ("inclusionAI/Ling-2.6-flash-fp8",),
        ("Ling_mini_2.0",),
        ("ling:latest",),
        ("served", "/models/inclusionAI/Ling-flash-2.0/"),
    ],
)
def test_ling_is_known_by_its_name(names: tuple[str, ...]) -> None:
    assert profile_for_name(*names) is LING2


@pytest.mark.parametrize(
    "names", [("qwen2.5-coder-0.5b",), ("starling-7b",), ("lingua",), ("m", "/home/ling/qwen"), ()]
)
def test_others_are_not(names: tuple[str, ...]) -> None:
    assert profile_for_name(*names) is CHATML
