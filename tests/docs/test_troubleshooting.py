"""docs/troubleshooting.md quotes what the program prints: each symptom is made, and compared."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .pages import ROOT
from .symptoms import SYMPTOMS, Bench

PAGE = ROOT / "docs" / "troubleshooting.md"
_SECTION = re.compile(r"^### (?P<title>.+?)$(?P<body>.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
_FRAME = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LEAST = 24  # characters that a quoted line has besides what it leaves open


def quoted(text: str) -> dict[str, list[str]]:
    """The framed lines by the heading above them."""
    return {
        match["title"]: [
            line for frame in _FRAME.findall(match["body"]) for line in frame.splitlines() if line
        ]
        for match in _SECTION.finditer(text)
    }


QUOTED = quoted(PAGE.read_text(encoding="utf-8"))


def missing(lines: list[str], printed: str) -> list[str]:
    """The quoted lines that were not printed, in this order; ``…`` stands for anything."""
    rest = printed.splitlines()
    lost: list[str] = []
    for line in lines:
        pattern = re.compile(".*".join(map(re.escape, line.split("…"))))
        at = next((n for n, text in enumerate(rest) if pattern.fullmatch(text)), None)
        if at is None:
            lost.append(line)
        else:
            rest = rest[at + 1 :]
    return lost


def test_every_symptom_is_quoted_and_every_quote_has_its_symptom() -> None:
    assert list(QUOTED) != []
    assert set(QUOTED) == set(SYMPTOMS)
    assert [title for title, lines in QUOTED.items() if not lines] == []
    every = _FRAME.findall(PAGE.read_text(encoding="utf-8"))
    inside = sum(len([line for line in frame.splitlines() if line]) for frame in every)
    assert sum(map(len, QUOTED.values())) == inside, "a frame stands outside of a section"


@pytest.mark.parametrize("title", QUOTED)
def test_a_quoted_line_leaves_little_open(title: str) -> None:
    vague = [line for line in QUOTED[title] if len(line.replace("…", "").strip()) < _LEAST]
    assert vague == []


@pytest.mark.parametrize("title", QUOTED)
def test_what_is_quoted_is_what_is_printed(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("llama_cpp")
    printed = SYMPTOMS[title](Bench(tmp_path, monkeypatch))
    assert missing(QUOTED[title], printed) == [], printed


def test_a_line_that_was_not_printed_is_found() -> None:
    assert missing(["a … c"], "a b c\n") == []
    assert missing(["a … d", "b"], "a b c\nb\n") == ["a … d"]
    assert missing(["b", "a"], "a\nb\n") == ["a"], "the order counts"
    assert missing(["a.c"], "abc") == ["a.c"], "a dot is a dot"
