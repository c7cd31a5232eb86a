"""The page says what the code does: its snippets run, its tables are complete."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from ling_agent.hermes import FailureKind

from .test_corpus import DEVIATIONS
from .test_repair import REPAIRED

PAGE = Path(__file__).resolve().parents[2] / "docs" / "hermes.md"
SOURCE = Path(__file__).resolve().parents[2] / "ling_agent" / "hermes"
TEXT = PAGE.read_text(encoding="utf-8")
SNIPPETS: list[str] = re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippet(snippet: str) -> None:
    scope: dict[str, Any] = {}
    exec(compile(snippet, str(PAGE), "exec"), scope)


def test_tables_are_complete() -> None:
    named = set(re.findall(r"^\| `([a-z_]+)` \|", TEXT, re.MULTILINE))
    assert {step for step, _, _ in REPAIRED} <= named
    assert set(get_args(FailureKind)) <= named
    noted: set[str] = set()
    for path in SOURCE.glob("*.py"):
        noted |= set(re.findall(r'(?:note|append)\("([a-z_]+)"\)', path.read_text("utf-8")))
    assert noted <= named
    assert all(f"`{case}`" in TEXT for case in DEVIATIONS)
