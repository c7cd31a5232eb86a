"""The tables of the page on hardware are those that the facts and the planner give today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ling_agent
from ling_agent.fit.hardware import tables

PAGE = Path(ling_agent.__file__).parents[1] / "docs" / "hardware.md"
_TABLE = re.compile(r"<!-- (?P<name>[^>]+) -->\n(?P<text>.*?)\n<!-- end -->", re.DOTALL)


def on_the_page() -> dict[str, str]:
    text = PAGE.read_text(encoding="utf-8")
    return {found["name"]: found["text"] for found in _TABLE.finditer(text)}


@pytest.mark.parametrize("name", tables())
def test_the_table_is_the_generated_one(name: str) -> None:
    assert on_the_page()[name] == tables()[name], "run python -m ling_agent.fit.hardware"


def test_the_page_has_no_table_that_is_not_generated() -> None:
    assert set(on_the_page()) == set(tables())
