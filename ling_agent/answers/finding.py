"""The JSON values in a text: whole, in code blocks, between prose; repaired where that is certain.

Nothing is taken out of a value: what is inside an object that cannot be read is no value of its
own. Of scalars, which prose is full of, only those count that fill a code block.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from ..hermes.quotes import read_unescaped
from ..hermes.repair import repaired

_BLOCK = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)\n?[ \t]*```[ \t]*$", re.DOTALL | re.MULTILINE)
_BEGINS = re.compile(r"""\{\s*(?:["'}{]|\w+\s*:)|\[\s*(?:["'\[\]{\d-]|\w+\s*[,\]])""")
_BRACKETS = re.compile(r'"(?:[^"\\]+|\\.)*+"|[\[{]|[\]}]', re.DOTALL)
_WORDS = re.compile(
    r""""(?:[^"\\]+|\\.)*+"|'(?:[^'\\]+|\\.)*+'|\w+(?:[.+-]\w+)*|[^\w\s]""", re.DOTALL
)
_COLON = re.compile(r"\s*:")
_NEAR = 12


@dataclass(frozen=True, slots=True)
class Found:
    """A JSON value in a text, and how many characters it takes there."""

    value: Any
    size: int


class RepeatedKeyError(ValueError):
    """An object that says different things under one key."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class BrokenJSONError(ValueError):
    """What looks like JSON and is none; lines and columns count from 1, in the whole text."""

    def __init__(self, text: str, at: int, what: str) -> None:
        super().__init__(what)
        self.what = what
        self.line = text.count("\n", 0, at) + 1
        self.column = at - text.rfind("\n", 0, at)
        self.near = text[max(0, at - _NEAR) : at + _NEAR]


def loads(text: str) -> Any:
    """`json.loads` without NaN, Infinity, numbers beyond a float, and keys that contradict.

    Raises:
        ValueError: It is not one JSON value.
    """
    value, end = _decode(text, 0)
    if text[end:].strip():
        raise ValueError("more than one value")
    return value


def find_json(text: str, fits: Callable[[Any], bool]) -> list[Found]:
    """The objects and arrays in a text, and scalars that fill a code block.

    Args:
        text: A whole answer.
        fits: Whether a value is one that is looked for; only such a one is worth a repair.

    Raises:
        RepeatedKeyError: One of them contradicts itself.
        BrokenJSONError: There is none that can be read, but one that cannot.
    """
    found: list[Found] = []
    problem: BrokenJSONError | None = None
    for start, end, closed in _parts(text):
        for item in _read_part(text, start, end, fits, closed=closed):
            if isinstance(item, Found):
                found.append(item)
            else:
                problem = problem or item
    if problem is not None and not found:
        raise problem
    return found


def _parts(text: str) -> Iterator[tuple[int, int, bool]]:
    """Where the code blocks are and what is around them, and whether it is a block."""
    at = 0
    for block in _BLOCK.finditer(text):
        yield at, block.start(), False
        yield block.start(1), block.end(1), True
        at = block.end()
    yield at, len(text), False


def _read_part(
    text: str, start: int, end: int, fits: Callable[[Any], bool], *, closed: bool
) -> Iterator[Found | BrokenJSONError]:
    part = text[start:end]
    if closed:
        value = _read_block(part.strip(), fits)
        if value is not None:
            yield value
            return
    at, readable = start, text[:end]
    while begin := _BEGINS.search(text, at, end):
        at = begin.start()
        try:
            value, at = _decode(readable, at)
        except json.JSONDecodeError as error:
            stop = _matching(text, at, end)
            region = text[at:stop]
            better = _repair(region, fits, closed=False)
            at = stop
            yield BrokenJSONError(text, error.pos, error.msg) if better is None else better
        else:
            yield Found(value, at - begin.start())


def _read_block(text: str, fits: Callable[[Any], bool]) -> Found | None:
    """The one value that fills a code block, if there is one."""
    try:
        return Found(loads(text), len(text))
    except RepeatedKeyError:
        raise
    except ValueError:
        if text and not text.startswith(("{", "[", '"')) and fits(text):
            return Found(text, len(text))
        return _repair(text, fits, closed=True)


def _repair(text: str, fits: Callable[[Any], bool], *, closed: bool) -> Found | None:
    """A value that fits, from JSON with faults that can be mended in one way only."""
    better = repaired(text, closed=closed)
    if better is not None:
        value = better[0]
        return Found(value, len(text)) if _keys(text) == _count(value) and fits(value) else None
    value = read_unescaped(text, fits)
    return None if value is None else Found(value, len(text))


def _matching(text: str, start: int, end: int) -> int:
    """Where the bracket at `start` is closed; the end where it is not."""
    depth = 0
    for token in _BRACKETS.finditer(text, start, end):
        if token[0] in "{[":
            depth += 1
        elif token[0] in "}]":
            depth -= 1
            if depth == 0:
                return token.end()
    return end


def _keys(text: str) -> int:
    """How many keys are written in JSON, or in almost-JSON that was repaired."""
    return sum(
        token[0] != ":" and _COLON.match(text, token.end()) is not None
        for token in _WORDS.finditer(text)
    )


def _count(value: Any) -> int:
    """How many keys a value has: fewer than were written when one was written twice."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return len(members) + sum(map(_count, members.values()))
    return sum(map(_count, cast("list[Any]", value))) if isinstance(value, list) else 0


# -- decoding -------------------------------------------------------------------------------------


def _decode(text: str, at: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", text, at) from None
    except (RepeatedKeyError, json.JSONDecodeError):
        raise
    except ValueError as error:  # a constant or a number that is none; its place is not told
        raise json.JSONDecodeError(str(error), text, at) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members and json.dumps(members[key]) != json.dumps(value):
            raise RepeatedKeyError(key)
        members[key] = value
    return members


def _constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:20]} is too large for a number")
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_finite
)
