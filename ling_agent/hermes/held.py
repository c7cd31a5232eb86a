"""Calls without their opening tag: the text is held while it could still be one, no longer.

Three shapes: a message that is nothing but call objects, alone or in a code fence (`bare_json`), an
object at the start of the message that a lone `</tool_call>` follows, and a `<tools>` block. All of
them need declared tools. What turns out to be anything else is given back as text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from .calls import Good, Outcome, cut_off
from .repair import read_block
from .scanner import ARGUMENT_KEYS, CALL_KEYS, JsonScanner
from .session import Mode, Session
from .tags import BACKTICK, FENCE, TAG, is_partial

MAX_HOLDS = 8

_SPACE = re.compile(r"[\s\u200b\ufeff]*+")
_FENCE = re.compile(r"```[\w+-]{0,16}")
_OWN_KEYS = frozenset(CALL_KEYS)


@dataclass(slots=True)
class _Object:
    text: str
    has_arguments: bool


class Held:
    """The mode that holds a possible call.

    Args:
        shape: `start` at the start of a message, `tools` behind a `<tools>` tag.
        opener: The tag that was consumed, if any.
    """

    def __init__(self, shape: Literal["start", "tools"], opener: str = "") -> None:
        self._shape = shape
        self._opener = opener
        self._raw: list[str] = []
        self._objects: list[_Object] = []
        self._scanner: JsonScanner | None = None
        self._value: list[str] = []
        self._checked = 0
        self._repairs: list[str] = ["alias_tag"] if shape == "tools" else []

    def step(self, session: Session) -> Mode | None:
        return self._gap(session) if self._scanner is None else self._in_value(session)

    def _take(self, session: Session, end: int) -> str:
        taken = session.text[session.pos : end]
        self._raw.append(taken)
        session.pos = end
        return taken

    # -- between values

    def _gap(self, session: Session) -> Mode | None:
        match = _SPACE.match(session.text, session.pos)
        self._take(session, match.end() if match else session.pos)
        if session.exhausted:
            return self._ended(session) if session.final else None
        char = session.text[session.pos]
        single = self._shape == "start" and not session.bare_json
        opens = char == "{" or (char == "[" and not single)
        if opens and session.book.has_tools and not (single and self._objects):
            self._scanner = JsonScanner()
            self._value = []
            self._checked = 0
            return self
        if char == "<":
            return self._tag(session)
        if char == BACKTICK and self._shape == "start":
            return self._fence(session)
        return self._release(session)

    def _fence(self, session: Session) -> Mode | None:
        match = _FENCE.match(session.text, session.pos)
        if match is None:
            rest = session.text[session.pos : session.pos + 3]
            growing = FENCE.startswith(rest) and not session.final
            return None if growing else self._release(session)
        if match.end() == len(session.text) and not session.final:
            return None
        self._take(session, match.end())
        if "code_fence" not in self._repairs:
            self._repairs.append("code_fence")
        return self

    def _tag(self, session: Session) -> Mode | None:
        match = TAG.match(session.text, session.pos)
        if match is None:
            growing = is_partial(session.text, session.pos) and not session.final
            return None if growing else self._release(session)
        kind = match.lastgroup
        if kind == "open" and not self._objects and self._repairs == ["code_fence"]:
            session.fenced = True  # a fence around a tagged call: drop the fence
            session.emitter.removed()
            return session.resume()
        if self._objects and (kind == "close" or match[0] == "</tools>"):
            if kind == "close" and self._shape == "start":
                self._repairs.append("missing_open_tag")
            return self._accept(session, match.end())
        if self._objects and kind == "stop" and session.bare_json:
            return self._accept(session, session.pos, ["bare_json"])
        return self._release(session)

    def _ended(self, session: Session) -> Mode | None:
        if self._objects and self._shape == "tools":
            return self._accept(session, session.pos, ["missing_end_tag"])
        if self._objects and session.bare_json:
            return self._accept(session, session.pos, ["bare_json"])
        return self._release(session)

    # -- inside a value

    def _in_value(self, session: Session) -> Mode | None:
        scanner = self._scanner
        assert scanner is not None
        self._value.append(self._take(session, scanner.scan(session.text, session.pos)))
        for key in scanner.keys[self._checked :]:
            if key not in _OWN_KEYS:
                return self._release(session)
        self._checked = len(scanner.keys)
        if scanner.name is not None and session.book.normalised(scanner.name) is None:
            return self._release(session)
        if scanner.status == "broken" or scanner.repeated is not None:
            return self._release(session)
        if scanner.status == "done":
            has_arguments = any(key in ARGUMENT_KEYS for key in scanner.keys)
            self._objects.append(_Object("".join(self._value), has_arguments))
            self._scanner = None
            return self
        return self._cut(session, scanner) if session.final else None

    def _cut(self, session: Session, scanner: JsonScanner) -> Mode | None:
        """Cut inside an object that names a tool and its arguments: a truncated call, not text."""
        expected = session.bare_json or self._shape == "tools"
        named = scanner.name is not None and any(key in ARGUMENT_KEYS for key in scanner.keys)
        if not (expected and named):
            return self._release(session)
        bad = cut_off(scanner.name, shorter=session.length)
        finished = self._outcomes(session, ["bare_json"])
        return self._emit(session, [*(finished or []), (bad, "".join(self._value))])

    # -- the decision

    def _outcomes(self, session: Session, repairs: list[str]) -> list[tuple[Outcome, str]] | None:
        """Every call in the held objects, or None when one of them is no call at all."""
        found: list[tuple[Outcome, str]] = []
        notes = [*self._repairs, *repairs]
        for one in self._objects:
            for outcome in read_block(one.text, session.book, closed=True, repairs=notes):
                if isinstance(outcome, Good):
                    omitted = "no_arguments_key" in outcome.repairs
                    if omitted and session.book.required(outcome.name):
                        return None
                elif not one.has_arguments or outcome.name is None:
                    return None
                found.append((outcome, one.text))
        return found

    def _accept(self, session: Session, end: int, repairs: list[str] | None = None) -> Mode | None:
        outcomes = self._outcomes(session, repairs or [])
        if outcomes is None:
            return self._release(session)
        session.pos = end
        return self._emit(session, outcomes)

    def _emit(self, session: Session, outcomes: list[tuple[Outcome, str]]) -> Mode | None:
        for outcome, raw in outcomes:
            session.emitter.outcome(session.emitter.next_index(), outcome, raw)
        session.emitter.removed()
        return session.resume()

    def _release(self, session: Session) -> Mode:
        """Not a call: the tag is text, and the rest is read as text (once more, and only once)."""
        session.emitter.text(self._opener)
        session.holds += 1
        session.put_back("".join(self._raw))
        return session.released()
