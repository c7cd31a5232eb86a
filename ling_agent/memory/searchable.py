"""What of an entry is searched, and how it is cut into pieces that a hit can point at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..messages import AssistantMessage
from .trajectory import Entry

PIECE = 1600
"""Characters of a piece at most: what a hit shows."""

_CUTS = ("\n\n", "\n", ". ", "。", "; ", ", ", " ")


@dataclass(frozen=True, slots=True)
class Searchable:
    """The text of an entry that is searched.

    Attributes:
        text: All of it.
        lead: How many characters of it stand before the message's own text: those of the call
            that an observation answers. Offsets count from behind them.
    """

    text: str
    lead: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a searchable text."""

    start: int
    length: int

    def of(self, searchable: Searchable) -> str:
        """The text of it."""
        return searchable.text[self.start : self.start + self.length]


NOTHING = Searchable("")


def searchable(entry: Entry) -> Searchable:
    """What is searched of an entry; nothing of copies that recall itself has made."""
    message, data = entry.message, entry.data
    if data.get("memory"):
        return NOTHING
    match entry.kind:
        case "pin":
            return Searchable(str(data.get("text", "")))
        case "task" | "document" if message is not None:
            return Searchable(message.content)
        case "assistant" if isinstance(message, AssistantMessage):
            parts = (message.reasoning, message.content)
            return Searchable("\n".join(part for part in parts if part))
        case "observation" if message is not None:
            call = str(data.get("call") or "")
            lead = f"{call}\n" if call else ""
            return Searchable(lead + message.content, len(lead))
        case _:
            return NOTHING


def pieces(text: str) -> Iterator[Piece]:
    """A text in pieces, cut where a paragraph, a line, a sentence or a word ends."""
    start, length = 0, len(text)
    while length - start > PIECE:
        end = _end(text, start)
        yield Piece(start, end - start)
        start = end
    if text[start:].strip():
        yield Piece(start, length - start)


def _end(text: str, start: int) -> int:
    # In the last third, so that no piece is small; a long line is cut where it has to be.
    low, high = start + 2 * PIECE // 3, start + PIECE
    for cut in _CUTS:
        if (place := text.rfind(cut, low, high)) >= 0:
            return place + len(cut)
    return high
