"""Reading a damaged file: row by row, around what cannot be read."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import StoreError
from .carving import Value, carved
from .codec import Row, from_row
from .faults import DamageError
from .runs import BITS, to_bytes

_FIELDS = (
    "id, name, status, task, created, updated, written, length, steps, parent, base, forked_from"
)
_ENTRY, _RUN = 6, 14
"""Columns of the tables: what a row is told by."""

_LAST = (1 << BITS) - 1
_GAP = 100_000
"""So many numbers are tried one by one where a scan breaks."""


@dataclass(slots=True)
class FoundRun:
    """A run and what could be read of it."""

    id: int
    name: bytes | None
    status: str
    task: bytes
    created: float
    updated: float
    written: int
    length: int
    steps: int
    parent: int | None
    base: int
    forked_from: bytes | None
    entries: dict[int, Row] = field(default_factory=dict[int, Row])

    @property
    def lost(self) -> int:
        """How many of its own entries could not be read."""
        return max(0, self.length - self.base) - len(self.entries)


@dataclass(slots=True)
class Found:
    """All that could be read."""

    runs: list[FoundRun] = field(default_factory=list[FoundRun])


class DamagedFile:
    """A file that is read as far as it goes, and never written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._broken: set[str] = set()
        self._connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None
        )

    def close(self) -> None:
        """Release the file."""
        self._connection.close()

    def opens(self) -> bool:
        """Whether SQLite finds the tables in it."""
        try:
            names = {
                name
                for (name,) in self._connection.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table'"
                )
            }
        except sqlite3.Error:
            return False
        return {"runs", "entries"} <= names

    def read(self) -> Found:
        """Runs and entries, as many as can be read."""
        found = {run.id: run for run in self._runs()}
        for run in found.values():
            first = run.id << BITS
            for number, *row in self._rows("entries", first + run.base, first + run.length - 1):
                self._take(run, number, row)
        if "runs" in self._broken:
            self._carve_runs(found)
        elif any(run.lost for run in found.values()):
            for number, values in carved(self._path):
                if len(values) == _ENTRY and (run := found.get(number >> BITS)) is not None:
                    self._take(run, number, values[1:])
        return Found([found[id_] for id_ in sorted(found)])

    def _carve_runs(self, found: dict[int, FoundRun]) -> None:
        """Runs whose rows SQLite does not reach, some of which may be lost altogether."""
        entries: dict[int, list[Value]] = {}
        known = set(found)
        for number, values in carved(self._path):
            if len(values) == _ENTRY:
                entries[number] = values
            elif len(values) == _RUN and number not in known:
                run = _run(number, values)
                if run and (number not in found or run.written > found[number].written):
                    found[number] = run
        for number in sorted(entries):
            id_ = number >> BITS
            if id_ not in found:
                name = to_bytes(f"rescued-{id_}")
                found[id_] = FoundRun(id_, name, "interrupted", b"", 0, 0, 0, 0, 0, None, 0, None)
            if found[id_].status == "interrupted" and found[id_].written == 0:
                found[id_].length = (number & _LAST) + 1
            self._take(found[id_], number, entries[number][1:])

    def _take(self, run: FoundRun, number: int, row: Sequence[Any]) -> None:
        step, mark, codec, crc, body = row
        kept = Row(number & _LAST, step, mark, codec, crc, body)
        if kept.id in run.entries or not run.base <= kept.id < run.length:
            return
        with contextlib.suppress(DamageError, TypeError):
            with contextlib.suppress(StoreError):  # what is not installed may be some day
                from_row(kept.id, step, codec, crc, body)
            run.entries[kept.id] = kept

    def _runs(self) -> Iterator[FoundRun]:
        last = self._number("SELECT seq FROM sqlite_sequence WHERE name = 'runs'")
        last = last or self._number("SELECT max(id) FROM runs") or 10_000
        for row in self._rows("runs", 1, last, _FIELDS, "id"):
            with contextlib.suppress(TypeError, ValueError):
                yield FoundRun(*row)

    def _number(self, query: str, values: tuple[int, ...] = ()) -> int | None:
        try:
            row = self._connection.execute(query, values).fetchone()
        except sqlite3.Error:
            return None
        return row[0] if row is not None and isinstance(row[0], int) else None

    def _rows(
        self, table: str, first: int, last: int, fields: str = "*", key: str = "number"
    ) -> Iterator[tuple[Any, ...]]:
        """Rows with keys in a range: from both ends, and one by one where that breaks."""
        query = f"SELECT {fields} FROM {table} WHERE {key} BETWEEN ? AND ? ORDER BY {key}"
        rose = first - 1
        for row in self._until_it_breaks(table, query, first, last):
            rose = row[0]
            yield row
        fell = last + 1
        for row in self._until_it_breaks(table, f"{query} DESC", rose + 1, last):
            fell = row[0]
            yield row
        for number in range(rose + 1, min(fell, rose + _GAP)):
            yield from self._until_it_breaks(table, query, number, number)

    def _until_it_breaks(
        self, table: str, query: str, first: int, last: int
    ) -> Iterator[tuple[Any, ...]]:
        if first > last:
            return
        try:
            yield from self._connection.execute(query, (first, last))
        except (sqlite3.Error, UnicodeDecodeError):
            self._broken.add(table)


def _run(id_: int, values: list[Any]) -> FoundRun | None:
    """A row of the table ``runs``, if it is one."""
    _, name, status, task, created, updated, written, length, steps, _, parent, base, _, origin = (
        values
    )
    numbers = (written, length, steps, base)
    if not isinstance(status, str) or not all(isinstance(number, int) for number in numbers):
        return None
    if not (isinstance(task, bytes) and isinstance(name, bytes | None)):
        return None
    return FoundRun(
        id_, name, status, task, created, updated, written, length, steps, parent, base, origin
    )
