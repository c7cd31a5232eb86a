"""Unescaped quotes inside JSON strings: find every reading, and take it only if it is the only one.

A quote can end a string only where JSON could go on (`,`, `:`, `}`, `]` or the end). Where several
quotes qualify, all of them are tried; two complete readings mean that nobody can tell, and the
answer is None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from .calls import loads

MAX_CHARS = 16_384
_BUDGET = 2_000
_MAX_DEPTH = 16

_SPACE = re.compile(r"\s*+")
_SCALAR = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.+-])|true|false|null")
_QUOTE = re.compile(r'(?:[^"\\]+|\\.)*+"', re.DOTALL)
_INNER = re.compile(r'(\\.)|"', re.DOTALL)


class _TooManyError(Exception):
    """The text has more possible readings than it is worth trying."""


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.budget = _BUDGET

    def skip(self, pos: int) -> int:
        match = _SPACE.match(self.text, pos)
        return match.end() if match else pos

    def _spend(self, depth: int) -> None:
        self.budget -= 1
        if self.budget < 0 or depth > _MAX_DEPTH:
            raise _TooManyError

    def values(self, pos: int, depth: int) -> Iterator[tuple[Any, int]]:
        """Every value that can start at `pos`, with the position behind it."""
        self._spend(depth)
        pos = self.skip(pos)
        char = self.text[pos : pos + 1]
        if char == '"':
            yield from self._strings(pos, ",}]")
        elif char == "{":
            yield from self._members(pos + 1, {}, depth + 1)
        elif char == "[":
            yield from self._items(pos + 1, [], depth + 1)
        elif match := _SCALAR.match(self.text, pos):
            yield loads(match[0]), match.end()

    def _strings(self, pos: int, followers: str) -> Iterator[tuple[str, int]]:
        at = pos + 1
        while match := _QUOTE.match(self.text, at):
            self._spend(0)
            at = match.end()
            follower = self.skip(at)
            if self.text[follower : follower + 1] in (*followers,):
                body = _INNER.sub(lambda m: m[1] or '\\"', self.text[pos + 1 : at - 1])
                try:
                    yield loads(f'"{body}"', strict=False), at
                except ValueError:
                    return

    def _members(
        self, pos: int, done: dict[str, Any], depth: int
    ) -> Iterator[tuple[dict[str, Any], int]]:
        pos = self.skip(pos)
        if self.text[pos : pos + 1] == "}" and not done:
            yield done, pos + 1
        if self.text[pos : pos + 1] != '"':
            return
        for key, after_key in self._strings(pos, ":"):
            if key in done:
                continue
            colon = self.skip(after_key)
            for value, after in self.values(colon + 1, depth):
                members = {**done, key: value}
                follower = self.skip(after)
                char = self.text[follower : follower + 1]
                if char == "}":
                    yield members, follower + 1
                elif char == ",":
                    yield from self._members(follower + 1, members, depth)

    def _items(self, pos: int, done: list[Any], depth: int) -> Iterator[tuple[list[Any], int]]:
        pos = self.skip(pos)
        if self.text[pos : pos + 1] == "]" and not done:
            yield done, pos + 1
            return
        for value, after in self.values(pos, depth):
            items = [*done, value]
            follower = self.skip(after)
            char = self.text[follower : follower + 1]
            if char == "]":
                yield items, follower + 1
            elif char == ",":
                yield from self._items(follower + 1, items, depth)


def read_unescaped(text: str, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
    """The only object for which `fits` holds that `text` can be with quotes left unescaped."""
    if len(text) > MAX_CHARS or not text.startswith("{"):
        return None
    reader = _Reader(text)
    found: list[dict[str, Any]] = []
    try:
        for value, end in reader.values(0, 0):
            if reader.skip(end) == len(text) and value not in found and fits(value):
                found.append(value)
                if len(found) > 1:
                    return None
    except (_TooManyError, RecursionError, ValueError):
        return None
    return found[0] if found else None
