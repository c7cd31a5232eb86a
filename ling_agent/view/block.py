"""Texts right of their labels: broken between words while they grow, and safe to print."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

LABEL = 10
"""Cells that a label takes."""

_SHOWN = 400
# Text in wide characters has no spaces: it may be broken at each of them.
_WORD = re.compile(r"\n|[^\S\n]+|[\u2e80-\uffef]|[^\s\u2e80-\uffef]+")
# Control characters become their pictures: a tool's text must not move the cursor.
_VISIBLE: dict[int, int | str] = {
    **{code: 0x2400 + code for code in range(0x20)},
    **dict.fromkeys(range(0x7F, 0xA0), 0xFFFD),
    ord("\t"): "    ",
    ord("\n"): "\n",
}


def beginning(text: str) -> str:
    """A text as far as people are shown it."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} … ({len(text):,} characters)"


def visible(text: str) -> str:
    """A text as it is safe to print: with pictures of its control characters."""
    return text.translate(_VISIBLE)


def one_row(text: str, streaming: str, cells: int) -> str:
    """A text in at most so many cells, and behind it as much of the end of another as has room."""
    from rich.cells import cell_len, set_cell_size

    row = visible(" ".join(text.split()))
    if cell_len(row) > cells:
        return set_cell_size(row, max(cells, 0))
    room = cells - cell_len(row) - 2
    end = visible(" ".join(streaming[-4 * cells :].split()))
    shown = end[-room:] if room > 0 else ""
    while cell_len(shown) > room:
        shown = shown[1:]
    return f"{row} {'' if shown == end else '…'}{shown}" if shown else row


def write(console: Console, text: str, style: str) -> None:
    """Print a text as it is, without a line break behind it."""
    # soft_wrap: the lines are broken here.
    console.print(text, end="", style=style, markup=False, highlight=False, soft_wrap=True)


def control(console: Console, kind: str, *number: int) -> None:
    """Move the cursor, or erase; ``kind`` is a name of `rich.segment.ControlType`."""
    from rich.control import Control
    from rich.segment import ControlType

    code = (ControlType[kind], *number)
    console.control(Control(code))  # type: ignore[arg-type]


class Block:
    """A text to the right of its label.

    The word at its end is held back until it is whole.

    Args:
        console: Where to print.
        style: Of the text.
        indent: What stands to the left of every row but the first.

    Attributes:
        text: What was added so far.
    """

    def __init__(self, console: Console, style: str = "", indent: str = " " * LABEL) -> None:
        self.text = ""
        self._console, self._style, self._width = console, style, console.width
        self._indent = indent
        self._room = max(console.width - len(indent), 1) if console.is_terminal else math.inf
        self._rows = self._column = self._breaks = 0
        self._gap = self._held = ""

    def add(self, text: str, *, show: bool) -> None:
        """Append; `show` prints it too."""
        self.text += text
        if show:
            *words, self._held = ["", *_WORD.findall(self._held + visible(text))]
            self._put(words)

    def finish(self) -> None:
        """Print what is held back. The cursor stays at the end of the text."""
        self._put([self._held])
        self._held = ""

    def move_to_label(self) -> bool:
        """Move the cursor to the label; False when it cannot be told where that is by now."""
        if self._rows >= self._console.height or self._width != self._console.width:
            return False
        if self._rows:
            control(self._console, "CURSOR_UP", self._rows)
        control(self._console, "CARRIAGE_RETURN")
        return True

    def move_back(self) -> None:
        """Back to the last row, after `move_to_label`."""
        if self._rows:
            control(self._console, "CURSOR_DOWN", self._rows)

    def _put(self, words: list[str]) -> None:
        write(self._console, "".join(map(self._placed, words)), self._style)

    def _placed(self, word: str) -> str:
        from rich.cells import cell_len, chop_cells

        if word == "\n":
            self._breaks += 1  # not yet: the text may end here
            self._column, self._gap = 0, ""
            return ""
        if not word or word.isspace():
            self._gap += word
            return ""
        gap, self._gap = self._gap, ""
        if self._column + cell_len(gap) + cell_len(word) <= self._room:
            self._column += cell_len(gap) + cell_len(word)
            return self._lead() + gap + word
        first, *others = chop_cells(word, int(self._room))
        shown = self._break(first) if self._column else self._lead() + first
        shown += "".join(map(self._break, others))
        self._column = cell_len((first, *others)[-1])
        return shown

    def _break(self, word: str) -> str:
        self._breaks = 1
        return self._lead() + word

    def _lead(self) -> str:
        """The line breaks that are due, and the indent of the last of the new rows."""
        breaks, self._breaks = self._breaks, 0
        self._rows += breaks
        return "\n" * breaks + self._indent if breaks else ""
