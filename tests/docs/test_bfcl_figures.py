"""The tables of BFCL in docs/evaluation.md against the outcome of every case."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import pytest

from ling_agent.evals.benchmark import Selection
from ling_agent.evals.bfcl import HEADLINE
from ling_agent.evals.bfcl.data import select

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "evaluation.md").read_text(encoding="utf-8")
SEEDS = {1: 40, 2: 40, 3: 40, 4: 60, 5: 60}
"""And how many cases of a category were drawn with each."""

with (DOCS / "data" / "bfcl.csv").open(encoding="utf-8", newline="") as file:
    CASES = list(csv.DictReader(file))
COLUMNS = list(CASES[0])[3:]


def row_of(column: str, cases: list[dict[str, str]] = CASES) -> str:
    """What a row of a table ends with."""
    ran = [case for case in cases if case[column]]
    passed = {name: [case[column] for case in ran if case["category"] == name] for name in HEADLINE}
    assert all(passed.values())
    cells = [f"{each.count('1')}/{len(each)}" for each in passed.values()]
    macro = sum(each.count("1") / len(each) for each in passed.values()) / len(passed)
    return f"| {' | '.join(cells)} | {macro:.3f} |"


def drawn(seed: int) -> list[dict[str, str]]:
    return [case for case in CASES if str(seed) in case["samples"].split()]


def also(column: str) -> list[dict[str, str]]:
    return [case for case in CASES if case[column]]


ROWS: Mapping[str, str] = {
    **{name: row_of(name) for name in COLUMNS},
    **{f"seed {seed}": row_of("embedded", drawn(seed)) for seed in SEEDS},
    "vllm, seed 1": row_of("vllm", drawn(1)),
    "vllm where mended": row_of("vllm", also("vllm mended")),
    "embedded where mended": row_of("embedded", also("vllm mended")),
}


@pytest.mark.parametrize("name", ROWS)
def test_each_sum_of_the_cases_is_a_row_of_the_page(name: str) -> None:
    lines = (line.replace("*", "") for line in PAGE.splitlines())
    assert any(line.startswith("|") and line.endswith(ROWS[name]) for line in lines), ROWS[name]


def test_each_row_of_the_page_is_a_sum_of_the_cases() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|") and line.count("/") == 8]
    assert len(rows) >= len(COLUMNS)
    for row in rows:
        assert any(row.replace("*", "").endswith(end) for end in ROWS.values()), row


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sample_is_the_one_that_the_command_draws(seed: int) -> None:
    cases = select(Selection(tuple(HEADLINE), SEEDS[seed], seed))
    assert {case.id for case in cases} == {case["case"] for case in drawn(seed)}


def test_each_case_is_there_once() -> None:
    assert len({case["case"] for case in CASES}) == len(CASES) == 2567
    assert {value for case in CASES for value in map(case.get, COLUMNS)} == {"", "0", "1"}
    assert all(bool(case["samples"]) is bool(case["embedded"]) for case in CASES)
