"""A call block that does not start with JSON: the Ling 3 dialect, a bare name, prose, a mention."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .calls import Outcome, cut_off, read_value
from .markup import MarkupScanner
from .repair import read_block
from .session import Mode, Session
from .tags import TAG, is_partial

if TYPE_CHECKING:
    from .block import Block

_WORD = re.compile(r"[\w.\-:/]{1,128}")


class Prose:
    """Behind `<tool_call>` stands no JSON: a bare name, the Ling 3 dialect, prose, or a mention.

    Args:
        block: The mode of a call block, which this one hands over to.
        opener: The opening tag as written.
        raw: What already stands behind it.
        repairs: What had to be repaired to get here.
        strict: Passed on to the next block.
    """

    def __init__(
        self, block: type[Block], opener: str, raw: str, repairs: list[str], *, strict: bool
    ) -> None:
        self._block = block
        self._opener = opener
        self._raw = [raw]
        self._repairs = repairs
        self._strict = strict
        self._tagged = False  # the prose holds a "<": it cannot be a bare name

    def step(self, session: Session) -> Mode | None:
        text = session.text
        at = text.find("<", session.pos)
        self._raw.append(text[session.pos : at if at >= 0 else len(text)])
        session.pos = at if at >= 0 else len(text)
        if at < 0:
            return self._ended(session) if session.final else None
        match = TAG.match(text, at)
        if match is None and not session.final and is_partial(text, at):
            return None
        following = self._tag(session, match) if match else None
        if following is not None:
            return following
        self._raw.append("<")
        self._tagged = True
        session.pos = at + 1
        return self

    def _tag(self, session: Session, match: re.Match[str]) -> Mode | None:
        kind = match.lastgroup
        if kind == "close":
            session.pos = match.end()
            return self._closed(session)
        if kind == "open":  # the first tag was a stray one
            session.pos = match.end()
            session.emitter.removed()
            session.emitter.text("".join(self._raw))
            return self._block(match[0], ["doubled_tags"], strict=self._strict)
        if kind == "key" and not self._tagged:
            name = "".join(self._raw).strip()
            if _WORD.fullmatch(name):
                block = self._block(self._opener, self._repairs, strict=self._strict)
                block.begin_markup(session, MarkupScanner(name, "ling3"))
                return block
        # What is no part of a call, and what must not get into the content, is read outside.
        outside = ("stop", "role", "turn", "bos", "think")
        return self._ended(session) if kind in outside else None

    def _closed(self, session: Session) -> Mode:
        """`<tool_call>name</tool_call>` is Ling 3's call without arguments; prose is an error."""
        raw = "".join(self._raw)
        word = raw.strip()
        if _WORD.fullmatch(word):
            outcome = read_value({"name": word, "arguments": {}}, session.book, self._repairs)
        else:
            outcome = read_block(raw, session.book, closed=True, repairs=[], strict=True)
        return self._end(session, outcome[0], raw)

    def _ended(self, session: Session) -> Mode:
        """Nobody closed it: a call that was cut if it names a tool, otherwise only text."""
        raw = "".join(self._raw)
        word = raw.strip()
        if session.length or session.book.is_declared(word):
            name = word if session.book.is_declared(word) else None
            return self._end(session, cut_off(name, shorter=session.length), raw)
        session.emitter.text(self._opener + raw)
        return session.resume()

    def _end(self, session: Session, outcome: Outcome, raw: str) -> Mode:
        session.emitter.outcome(session.emitter.next_index(), outcome, raw)
        session.emitter.removed()
        return session.resume()
