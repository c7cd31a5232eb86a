"""The tables of BFCL in docs/evaluation.md against the outcome of every case."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import pytest

from ling_agent.evals.bfcl import HEADLINE

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "evaluation.md").read_text(encoding="utf-8")
Outcomes = dict[tuple[str, str, str], dict[str, list[bool]]]


def outcomes() -> Outcomes:
    """By model, setting and seed: of each category, whether its cases passed."""
    found: Outcomes = defaultdict(lambda: defaultdict(list))
    with (DOCS / "data" / "bfcl.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            key = (row["model"], row["setting"], row["seed"])
            found[key][row["category"]].append(row["passed"] == "1")
    return found


@pytest.mark.parametrize("key", outcomes(), ids=" ".join)
def test_each_row_of_the_page_is_the_sum_of_its_cases(key: tuple[str, str, str]) -> None:
    shares = outcomes()[key]
    assert set(shares) == set(HEADLINE)
    cells = [f"{sum(shares[name])}/{len(shares[name])}" for name in HEADLINE]
    macro = sum(sum(shares[name]) / len(shares[name]) for name in HEADLINE) / len(HEADLINE)
    rows = [line.replace("*", "") for line in PAGE.splitlines() if line.startswith("|")]
    end = f"| {' | '.join(cells)} | {macro:.3f} |"
    assert any(row.endswith(end) for row in rows), end


def test_no_case_is_counted_twice() -> None:
    with (DOCS / "data" / "bfcl.csv").open(encoding="utf-8", newline="") as file:
        rows = [tuple(row[k] for k in row if k != "passed") for row in csv.DictReader(file)]
    assert len(rows) == len(set(rows))
