"""The modes outside a call block: the start of a message, text, reasoning, and after the end."""

from __future__ import annotations

import re

from .block import Block
from .held import MAX_HOLDS, Held
from .markup import MarkupScanner
from .session import Mode, Session
from .tags import BACKTICK, FENCE, TAG, is_growing, is_partial, is_torn

_SPACE = re.compile(r"\s*+")
_QUOTABLE = frozenset(("think", "unthink", "close", "response", "tools", "function"))
"""Tags that stay text between backticks."""


class Start:
    """Before the first visible character: the message could still be a call without a tag."""

    def step(self, session: Session) -> Mode | None:
        match = _SPACE.match(session.text, session.pos)
        end = match.end() if match else session.pos
        session.emitter.text(session.text[session.pos : end])
        session.pos = end
        if session.exhausted:
            return None
        char = session.text[end]
        if char == "{" or (char == "[" and session.bare_json):
            return Held("start") if session.book.has_tools else Text()
        if char == BACKTICK:
            rest = session.text[end : end + 3]
            if rest == FENCE:
                return Held("start")
            if FENCE.startswith(rest) and not session.final:
                return None
        return Text()


class FenceEnd:
    """Behind a call whose surrounding code fence was dropped: drop the closing fence too."""

    def step(self, session: Session) -> Mode | None:
        match = _SPACE.match(session.text, session.pos)
        end = match.end() if match else session.pos
        session.emitter.text(session.text[session.pos : end])
        session.pos = end
        rest = session.text[end : end + 3]
        if rest == FENCE:
            session.pos += 3
            session.fenced = False
            session.emitter.removed()
            return Text()
        if FENCE.startswith(rest) and not session.final:
            return None
        if not session.text.startswith("<", end):
            session.fenced = False
        return Text()


class Text:
    """Visible text, up to the next tag."""

    def step(self, session: Session) -> Mode | None:
        text, pos = session.text, session.pos
        at = text.find("<", pos)
        session.emitter.text(text[pos:] if at < 0 else text[pos:at])
        session.pos = at if at >= 0 else len(text)
        if at < 0:
            return None
        match = TAG.match(text, at)
        if match is None:
            if is_partial(text, at):
                if not session.final:
                    return None
                if session.emitter.has_calls or is_torn(text, at):
                    session.pos = len(text)
                    session.emitter.removed()
                    return None
            return self._literal(session, at + 1)
        if not session.final and is_growing(match, text):
            return None
        if match.lastgroup in _QUOTABLE and session.emitter.last == BACKTICK:
            if match.end() == len(text) and not session.final:
                return None
            if text.startswith(BACKTICK, match.end()):
                return self._literal(session, match.end())
        return self._tag(session, match)

    def _literal(self, session: Session, end: int) -> Mode:
        session.emitter.text(session.text[session.pos : end])
        session.pos = end
        return self

    def _tag(self, session: Session, match: re.Match[str]) -> Mode | None:
        kind = match.lastgroup
        position = session.position
        if kind == "open":
            session.pos = match.end()
            return Block(match[0], strict=position < session.distrusted)
        if kind in ("think", "unthink", "close", "bos"):
            session.pos = match.end()
            session.emitter.removed()
            if kind == "think":
                session.emitter.open_reasoning()
                return Reasoning()
            return after_removal(session)
        if kind in ("stop", "role", "turn"):
            return end_of_turn(session, match)
        if match[0] == "<tool_response>" and session.emitter.has_calls:
            return hallucinated(session, "tool", match[0])
        if kind == "tools" and session.book.has_tools and session.holds < MAX_HOLDS:
            session.pos = match.end()
            return Held("tools", match[0])
        if kind == "function" and session.book.is_declared(match["name"]):
            session.pos = match.end()
            block = Block("", ["missing_open_tag"], strict=position < session.distrusted)
            block.begin_markup(session, MarkupScanner(match["name"], "qwen"))
            return block
        return self._literal(session, match.end())


class Reasoning:
    """Inside `<think>`: nothing is executed, only the end is looked for."""

    def step(self, session: Session) -> Mode | None:
        text, pos = session.text, session.pos
        at = text.find("<", pos)
        session.emitter.reasoning(text[pos:] if at < 0 else text[pos:at])
        session.pos = at if at >= 0 else len(text)
        if at < 0:
            return None
        match = TAG.match(text, at)
        kind = match.lastgroup if match else None
        if match is None:
            if not session.final and is_partial(text, at):
                return None
        elif not session.final and is_growing(match, text):
            return None
        elif kind in ("stop", "role", "turn"):
            return end_of_turn(session, match)
        elif kind in ("unthink", "think", "bos"):
            session.pos = match.end()
            session.emitter.removed()
            return after_removal(session) if kind == "unthink" else self
        end = match.end() if match else at + 1
        session.emitter.reasoning(text[at:end])
        session.pos = end
        return self


class Ended:
    """The turn is over; a server would have stopped here."""

    def step(self, session: Session) -> Mode | None:
        session.pos = len(session.text)
        return None


def after_removal(session: Session) -> Mode:
    """Go on behind something that was removed."""
    return Start() if session.emitter.pristine and session.holds < MAX_HOLDS else Text()


def after_block(session: Session) -> Mode:
    """Go on behind a call block."""
    if session.fenced:
        return FenceEnd()
    return Text()


def end_of_turn(session: Session, match: re.Match[str]) -> Mode:
    """A stop token, or the header of a turn: the assistant's own header is skipped."""
    emitter = session.emitter
    if match.lastgroup == "stop":
        session.pos = match.end()
        seen = not emitter.pristine or emitter.reasoned
        emitter.removed()
        return Ended() if seen else after_removal(session)
    who = (match["who"] or match["speaker"] or "assistant").lower()
    if who != "assistant":
        return hallucinated(session, who, match[0])
    session.pos = match.end()
    emitter.removed()
    return after_removal(session)


def hallucinated(session: Session, who: str, raw: str) -> Mode:
    """The model went on with someone else's turn: everything from here on is invented."""
    emitter = session.emitter
    emitter.removed()
    if who in ("tool", "observation"):
        text = "A tool result was written instead of waiting for the real one; it was dropped."
        emitter.failed(emitter.next_index(), "hallucinated_tool_response", raw, text)
    else:
        text = f"A {who} turn was written by the assistant; it was dropped."
        emitter.failed(emitter.next_index(), "hallucinated_turn", raw, text)
    return Ended()
