"""Finds the end of one JSON value in a stream: every character is looked at once.

The scanner does not build values, it only knows strings, brackets and the keys at the level where
a call's own keys live. It accepts more than JSON (single quotes, bare words) so that the repair
ladder can be tried on a well delimited text, and stops as `broken` where even that is hopeless:
then the end tag, not the brackets, ends the block.
"""

from __future__ import annotations

import json
import re
from typing import Literal

Status = Literal["more", "done", "broken"]

MAX_DEPTH = 512
"""Deeper nesting is refused: the standard JSON decoder would run out of stack."""

_MAX_KEY = 64

ARGUMENT_KEYS = ("arguments", "parameters", "args")
"""Keys that hold a call's arguments; the first is the format's own, the others are aliases."""

CALL_KEYS = ("name", *ARGUMENT_KEYS)
"""The keys that make a call."""

_STRING_RUN = {
    '"': re.compile(r'(?:[^"\\]+|\\.)*+', re.DOTALL),
    "'": re.compile(r"(?:[^'\\]+|\\.)*+", re.DOTALL),
}
_SPACE = re.compile(r"\s*+")
_WORD = re.compile(r"[^\s\"'{}\[\],:<]++")
_OPENER = {"}": "{", "]": "["}


class JsonScanner:
    """Resumable scanner over one JSON object or array.

    Attributes:
        status: `more` until the value has ended (`done`) or cannot be followed (`broken`).
        too_deep: Whether the value broke because of its nesting.
        in_string: Whether the scanner stands inside a string.
        name: The call's name as soon as its string has ended.
        keys: The call's own keys so far.
        repeated: A key of `CALL_KEYS` that one call has twice: nobody can say which one is meant.
        delta: What the last `scan` saw of the arguments object.
        arguments_done: Whether the arguments object has ended.
    """

    __slots__ = (
        *("_args_depth", "_capture", "_escaped", "_in_key", "_key", "_prev", "_quote", "_stack"),
        *("_first_key", "arguments_done", "call_depth", "delta", "keys", "name", "repeated"),
        *("status", "too_deep"),
    )

    def __init__(self) -> None:
        self._stack: list[str] = []
        self._quote = ""
        self._escaped = False
        self._prev = ""  # last significant character outside strings; '"' after any string
        self._capture: list[str] | None = None
        self._key: str | None = None
        self._in_key = False
        self._args_depth = 0
        self.call_depth = 1
        self.status: Status = "more"
        self.too_deep = False
        self.name: str | None = None
        self.keys: list[str] = []
        self.repeated: str | None = None
        self._first_key = 0  # index in `keys` of the first one of the current call
        self.delta = ""
        self.arguments_done = False

    @property
    def in_string(self) -> bool:
        return bool(self._quote)

    def run_of_string(self, chunk: str) -> bool:
        """Whether `chunk` lies wholly inside the current plain string of the arguments.

        The hot path: a caller may then take the chunk as it is, without `scan`.
        """
        return (
            self._quote == '"'
            and self._args_depth != 0
            and not self._escaped
            and '"' not in chunk
            and "\\" not in chunk
        )

    def scan(self, text: str, pos: int) -> int:
        """Read on from `pos`; return the position behind the last character that was taken."""
        self.delta = ""
        start = pos if self._args_depth else -1
        size = len(text)
        while pos < size and self.status == "more":
            if self._quote:
                pos = self._string(text, pos)
                continue
            pos = _SPACE.match(text, pos).end()  # pyright: ignore[reportOptionalMemberAccess]
            if pos == size:
                break
            was_open = self._args_depth
            at = pos
            pos = self._outside(text, pos)
            if self._args_depth and not was_open:
                start = at
            elif was_open and not self._args_depth:
                self.delta = text[start:pos]
                start = -1
        if start >= 0:
            self.delta = text[start:pos]
        return pos

    def _string(self, text: str, pos: int) -> int:
        begin = pos
        if self._escaped:
            self._escaped = False
            pos += 1
        match = _STRING_RUN[self._quote].match(text, pos)
        end = match.end() if match else pos
        if self._capture is not None:
            self._capture.append(text[begin:end])
        if end == len(text):
            return end
        if text[end] == "\\":  # the last character of this chunk: what it escapes is yet to come
            if self._capture is not None:
                self._capture.append("\\")
            self._escaped = True
            return end + 1
        self._close_string()
        return end + 1

    def _close_string(self) -> None:
        if self._capture is not None:
            self._own_string("".join(self._capture))
            self._capture = None
        self._quote = ""
        self._prev = '"'

    def _own_string(self, raw: str) -> None:
        """A string at the call's own level: a key, or the value of `name`."""
        try:
            value = json.loads(f'"{raw}"', strict=False) if "\\" in raw else raw
        except ValueError:
            value = raw
        if self._prev == ":":
            if self._key == "name" and self.name is None:
                self.name = value
            return
        self._key = value
        if value in CALL_KEYS and self.repeated is None and value in self.keys[self._first_key :]:
            self.repeated = value
        self.keys.append(value)

    def _outside(self, text: str, pos: int) -> int:
        char = text[pos]
        prev = self._prev
        if char in "\"'":
            return self._open_string(char, pos)
        if prev == '"' and char not in ",:}]":
            self.status = "broken"  # a string that ended too early: an unescaped quote
            return pos
        if char in "{[":
            self._push(char)
        elif char in "}]":
            if not self._stack or self._stack[-1] != _OPENER[char]:
                self.status = "broken"
                return pos
            self._pop()
        elif char in ",:":
            self._prev = char
            return pos + 1
        elif char == "<":
            self.status = "broken"
            return pos
        else:
            return self._word(text, pos)
        self._prev = char
        return pos + 1

    def _open_string(self, char: str, pos: int) -> int:
        if self._prev not in ("{", "[", ",", ":"):
            self.status = "broken"
            return pos
        self._quote = char
        own_value = self._prev == ":" and self._key == "name" and self.name is None
        if self._at_own_level() and (self._prev != ":" or own_value):
            self._capture = []
        return pos + 1

    def _at_own_level(self) -> bool:
        return len(self._stack) == self.call_depth and self._stack[-1] == "{"

    def _word(self, text: str, pos: int) -> int:
        match = _WORD.match(text, pos)
        end = match.end() if match else pos + 1
        if self._prev in ("{", ","):
            self._in_key = self._at_own_level()
            self._key = text[pos:end] if self._in_key else self._key
        elif self._prev == "w" and self._in_key:  # an unquoted key that a chunk border has cut
            # No key of ours is this long: without the cut, pieces would add up to quadratic cost.
            self._key = ((self._key or "") + text[pos:end])[:_MAX_KEY]
        else:
            self._in_key = False
        self._prev = "w"
        return end

    def _push(self, char: str) -> None:
        if self._prev == ":" and self._key in ARGUMENT_KEYS and self._at_own_level():
            self._args_depth = len(self._stack) + 1
        self._stack.append(char)
        if len(self._stack) == 1:
            self.call_depth = 1 if char == "{" else 2
        if len(self._stack) > MAX_DEPTH:
            self.status, self.too_deep = "broken", True

    def _pop(self) -> None:
        if self._args_depth == len(self._stack):
            self._args_depth = 0
            self.arguments_done = True
        self._stack.pop()
        if not self._stack:
            self.status = "done"
        elif len(self._stack) < self.call_depth:
            self._key = None
            self._first_key = len(self.keys)
