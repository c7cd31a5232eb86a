"""The documentation as the tests see it: its pages, their fenced blocks and their links."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(
    r"^(?P<indent>[ ]*)(?P<fence>`{3,})(?P<info>[^`\n]*)\n(?P<body>.*?)^(?P=indent)(?P=fence)[ ]*$",
    re.MULTILINE | re.DOTALL,
)
_CODE_SPAN = re.compile(r"(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)", re.DOTALL)
_LINK = re.compile(r"\]\((?P<target>[^()\s]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        language: First word after the fence; empty when there is none.
        marks: The other words, for example ``model``.
        body: The text between the fences, without their indentation.
        line: Line of the page on which the body begins, from 1.
    """

    language: str
    marks: frozenset[str]
    body: str
    line: int


def pages() -> list[Path]:
    """Every page of the documentation, found and not listed."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def page_name(page: Path) -> str:
    """Path from the repository's root, for test ids and messages."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        language, *marks = match["info"].split() or [""]
        line = text.count("\n", 0, match.start("body")) + 1
        yield Block(language, frozenset(marks), textwrap.dedent(match["body"]), line)


def links(page: Path) -> list[str]:
    """The targets of a page's links that name a file."""
    text = _CODE_SPAN.sub("", _FENCE.sub("", page.read_text(encoding="utf-8")))
    targets = (match["target"].partition("#")[0] for match in _LINK.finditer(text))
    return [target for target in targets if target and not re.match(r"[a-z]+:", target)]
