"""What the modes of one message share: the text not yet read, the tools, the events, the limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from .emitter import Emitter
from .schema import ToolBook

MAX_RESCANS = 8
"""How often a message may be read again from an earlier point; keeps the total cost linear."""


class Session:
    """One message being read.

    Attributes:
        text: Input that has arrived and is not yet consumed, from `pos` on.
        pos: Position in `text`.
        final: No more input will come.
        length: The message was cut by the token limit.
        fenced: A code fence that opened around a call was dropped; its end is to be dropped too.
        rescans: How often a string that was never closed was given back.
        holds: How often a possible bare call was given back as text.
        released: Makes the mode that reads such text.
        distrusted: Absolute position up to which blocks get no repairs: the text was once taken for
            the inside of a string.
    """

    __slots__ = (
        *("_base", "bare_json", "book", "distrusted", "emitter", "fenced", "final", "length"),
        *("_resume", "holds", "pos", "released", "rescans", "text"),
    )

    def __init__(
        self,
        tools: Iterable[Mapping[str, Any]] | None,
        bare_json: bool,
        resume: Callable[[Session], Mode],
        released: Callable[[], Mode],
    ) -> None:
        self.book = ToolBook(tools)
        self.emitter = Emitter()
        self.bare_json = bare_json
        self.text = ""
        self.pos = 0
        self.final = False
        self.length = False
        self.fenced = False
        self.rescans = 0
        self.distrusted = 0
        self.holds = 0
        self._base = 0
        self._resume = resume
        self.released = released

    def resume(self) -> Mode:
        """The mode that follows a block."""
        return self._resume(self)

    @property
    def position(self) -> int:
        """Absolute position in the message."""
        return self._base + self.pos

    @property
    def exhausted(self) -> bool:
        return self.pos >= len(self.text)

    def append(self, chunk: str) -> None:
        """Add input; what was consumed is forgotten."""
        rest = self.text[self.pos :]
        self._base += self.pos
        self.text = rest + chunk if rest else chunk
        self.pos = 0

    def put_back(self, text: str) -> None:
        """Let `text`, which was consumed directly before `pos`, be read again."""
        start = self.pos - len(text)
        # A block that took its chunks on the hot path has them, but `self.text` does not.
        if start >= 0 and self.text.startswith(text, start):
            self.pos = start
            return
        rest = self.text[self.pos :]
        self._base += self.pos - len(text)
        self.text = text + rest
        self.pos = 0


class Mode(Protocol):
    """One state of the parser."""

    def step(self, session: Session) -> Mode | None:
        """Read on; return the mode to go on with, or None when more input is needed."""
        ...
