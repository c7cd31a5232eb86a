"""The tables of BFCL in docs/evaluation.md against the outcome of every case."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import pytest

from ling_agent.evals.bfcl import HEADLINE

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "evaluation.md").read_text(encoding="utf-8")
OURS = ("0.5B", "default")
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


def test_each_row_of_the_page_has_its_cases() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|") and line.count("/") == 8]
    assert len(rows) >= len(outcomes()), "seed 1 stands in both tables"
    ends = set[str]()
    for shares in outcomes().values():
        ends.add(" | ".join(f"{sum(shares[name])}/{len(shares[name])}" for name in HEADLINE))
    assert all(any(f"| {end} |" in row for end in ends) for row in rows)


def test_the_average_over_all_seeds_is_that_of_their_cases() -> None:
    found = [of for (model, setting, _), of in outcomes().items() if (model, setting) == OURS]
    assert len(found) == 4
    pooled = {name: [passed for of in found for passed in of[name]] for name in HEADLINE}
    macro = sum(sum(passed) / len(passed) for passed in pooled.values()) / len(pooled)
    assert f"{macro:.3f} over all" in " ".join(PAGE.split())


def test_no_case_is_counted_twice() -> None:
    with (DOCS / "data" / "bfcl.csv").open(encoding="utf-8", newline="") as file:
        rows = [tuple(row[k] for k in row if k != "passed") for row in csv.DictReader(file)]
    assert len(rows) == len(set(rows))
