"""`WrittenList`: a list that is JSON already, so that a body can hold it without writing it again.

Requests repeat a conversation, or its token ids, and add a little at the end. What is kept of them
as text costs the next request no more than copying it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from .jsons import read_json, write_json


@dataclass(frozen=True, slots=True)
class WrittenList:
    """A list as JSON.

    Attributes:
        parts: Its items in pieces of any number of items, each item behind a comma.
        length: How many items it has.
    """

    parts: tuple[bytes, ...] = ()
    length: int = 0

    def plus(self, items: Sequence[object]) -> WrittenList:
        """The list with these items at its end."""
        if not items:
            return self
        part = b"," + write_json(items)[1:-1]
        return WrittenList((*self.parts, part), self.length + len(items))

    @property
    def size(self) -> int:
        """Bytes of the JSON."""
        return 2 + max(sum(map(len, self.parts)) - 1, 0)

    def json(self) -> list[bytes]:
        """The JSON in pieces, to be joined."""
        first = [part[1:] for part in self.parts[:1]]
        return [b"[", *first, *self.parts[1:], b"]"]

    def read(self) -> list[Any]:
        """The items."""
        return read_json(b"".join(self.json()))


def write_body(body: object) -> bytes:
    """The JSON of a body whose own values may be a `WrittenList`; it is copied once."""
    if not isinstance(body, dict):
        return write_json(body)
    pieces: list[bytes] = []
    for name, value in cast("Mapping[str, Any]", body).items():
        pieces += (b"," if pieces else b"{", write_json(name), b":")
        pieces += value.json() if isinstance(value, WrittenList) else (write_json(value),)
    return b"".join((*(pieces or (b"{",)), b"}"))


def read_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body in plain values, for those who write it themselves."""
    return {
        name: value.read() if isinstance(value, WrittenList) else value
        for name, value in body.items()
    }
