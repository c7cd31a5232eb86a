"""Runs in the tables: their rows, their entries, and forks that read those of their parents."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...errors import StoreError
from .. import full_text
from ..full_text import Indexed, Span
from ..searchable import NOTHING, Searchable, searchable
from ..store import check_fork, fork_status
from ..trajectory import Entry
from .codec import TASK, WITHDRAWAL, Row, from_row
from .faults import DamageError

BITS = 32
_FIELDS = "id, status, length, steps, pieces, parent, base, base_pieces, created, updated, task"
_SLICE = 200


@dataclass(frozen=True, slots=True)
class Run:
    """A row of the table ``runs``."""

    id: int
    status: str
    length: int
    steps: int
    pieces: int
    parent: int | None
    base: int
    base_pieces: int
    created: float
    updated: float
    task: bytes


@dataclass(frozen=True, slots=True)
class Segment:
    """Entries of a run, from ``begin`` up to ``end``, and the pieces before ``pieces``."""

    run: int
    begin: int
    end: int
    pieces: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries that are ready to be written."""

    rows: Sequence[Row]
    indexed: Sequence[Indexed]
    steps: int
    time: float
    task: str | None
    withdrawn: bool


def to_bytes(text: str) -> bytes:
    """A name as it is kept."""
    return text.encode("utf-8", "surrogatepass")


def to_text(kept: bytes) -> str:
    """Read what `to_bytes` made."""
    return bytes(kept).decode("utf-8", "surrogatepass")


def find(connection: sqlite3.Connection, name: str) -> Run | None:
    """A run by its name."""
    query = f"SELECT {_FIELDS} FROM runs WHERE name = ?"
    row = connection.execute(query, (to_bytes(name),)).fetchone()
    return None if row is None else Run(*row)


def segments(connection: sqlite3.Connection, run: Run) -> list[Segment]:
    """Where the entries of a run are, the first first."""
    found = [Segment(run.id, run.base, run.length, run.pieces)]
    while run.parent is not None:
        row = connection.execute(
            f"SELECT {_FIELDS} FROM runs WHERE id = ?", (run.parent,)
        ).fetchone()
        if row is None:
            raise DamageError("the run that another was forked from is missing")
        parent = Run(*row)
        found.append(Segment(parent.id, parent.base, run.base, run.base_pieces))
        run = parent
    return found[::-1]


def spans(found: Sequence[Segment]) -> list[Span]:
    """The same for the index."""
    return [Span(segment.run, segment.pieces) for segment in found]


def entries(connection: sqlite3.Connection, found: Sequence[Segment]) -> Iterator[Entry]:
    """The entries of a run.

    Raises:
        DamageError: One is missing or is not what was written.
    """
    query = (
        "SELECT number, step, codec, crc, body FROM entries WHERE number >= ? AND number < ? "
        "ORDER BY number"
    )
    for segment in found:
        first, expected = segment.run << BITS, segment.begin
        for number, step, codec, crc, body in connection.execute(
            query, (first + segment.begin, first + segment.end)
        ):
            if number - first != expected:
                break
            yield from_row(expected, step, codec, crc, body)
            expected += 1
        if expected != segment.end:
            raise DamageError(f"entry {expected} is missing")


def text_of(connection: sqlite3.Connection, run: int, entry: int) -> Searchable:
    """What is searched of an entry."""
    row = connection.execute(
        "SELECT step, codec, crc, body FROM entries WHERE number = ?", ((run << BITS) + entry,)
    ).fetchone()
    if row is None:
        raise DamageError(f"entry {entry} is missing")
    return searchable(from_row(entry, *row))


def append(connection: sqlite3.Connection, name: str, batch: Batch, status: str | None) -> None:
    """Write entries and how a run stands."""
    run = find(connection, name)
    length = run.length if run is not None else 0
    if batch.rows and [row.id for row in batch.rows] != list(
        range(length, length + len(batch.rows))
    ):
        raise StoreError(
            f"run {name!r} has {length} entries here, and what is to be added does not follow on "
            "them: another run of it has gone on"
        )
    if run is None:
        run = _create(connection, name)
    first = run.id << BITS
    connection.executemany(
        "INSERT INTO entries VALUES(?, ?, ?, ?, ?, ?)",
        [(first + r.id, r.step, r.mark, r.codec, r.crc, r.body) for r in batch.rows],
    )
    pieces = full_text.add(connection, run.id, run.pieces, batch.indexed)
    length += len(batch.rows)
    connection.execute(
        "UPDATE runs SET status = ?, task = ?, updated = ?, length = ?, steps = ?, pieces = ?, "
        "written = (SELECT max(written) + 1 FROM runs) WHERE id = ?",
        (
            status or run.status,
            run.task if batch.task is None else to_bytes(batch.task),
            # Clocks go backwards at times; this does not.
            max(run.updated, batch.time),
            length,
            max(run.steps, batch.steps),
            pieces,
            run.id,
        ),
    )
    if batch.withdrawn:
        _find_task(connection, run.id, name)


def _create(connection: sqlite3.Connection, name: str) -> Run:
    now = time.time()
    connection.execute(
        "INSERT INTO runs(name, status, task, created, updated, written, length, steps, pieces, "
        "base, base_pieces) VALUES(?, 'running', x'', ?, ?, 0, 0, 0, 0, 0, 0)",
        (to_bytes(name), now, now),
    )
    run = find(connection, name)
    assert run is not None
    return run


def _find_task(connection: sqlite3.Connection, id_: int, name: str) -> None:
    """Write down which task is the newest that was not withdrawn."""
    run = find(connection, name)
    assert run is not None
    task, end = "", run.length
    for segment in reversed(segments(connection, run)):
        first = segment.run << BITS
        rows = connection.execute(
            "SELECT number, step, codec, crc, body FROM entries WHERE mark IN (?, ?) "
            "AND number >= ? AND number < ? ORDER BY number DESC",
            (TASK, WITHDRAWAL, first + segment.begin, first + segment.end),
        )
        for number, *row in rows.fetchall():
            if (entry_id := number - first) >= end:
                continue
            entry = from_row(entry_id, *row)
            if entry.kind == "withdrawal":
                end = entry.data["since"]
            else:
                task, end = task_of(entry), 0
    connection.execute("UPDATE runs SET task = ? WHERE id = ?", (to_bytes(task), id_))


def task_of(entry: Entry) -> str:
    """What a list of runs says of a task."""
    return str(entry.data.get("task", entry.text))[:200]


def fork(connection: sqlite3.Connection, name: str, into: str, length: int) -> None:
    """Make a run that reads the first entries of another."""
    run = known(connection, name)
    check_fork(into, find(connection, into) is not None, length, run.length)
    found = [segment for segment in segments(connection, run) if segment.begin < length]
    parent = found[-1].run
    (pieces,) = connection.execute(
        "SELECT count(*) FROM pieces WHERE number BETWEEN ? AND ? AND entry < ?",
        (*Span(parent).rows, length),
    ).fetchone()
    created = _create(connection, into)
    connection.execute(
        "UPDATE runs SET status = ?, parent = ?, base = ?, base_pieces = ?, "
        "length = ?, steps = ?, forked_from = ?, "
        "written = (SELECT max(written) + 1 FROM runs) WHERE id = ?",
        (
            fork_status(run.status, whole=length == run.length),
            parent,
            length,
            pieces,
            length,
            _steps(connection, found, length),
            to_bytes(name),
            created.id,
        ),
    )
    _find_task(connection, created.id, into)


def _steps(connection: sqlite3.Connection, found: Sequence[Segment], length: int) -> int:
    query = "SELECT max(step) FROM entries WHERE number >= ? AND number < ?"
    steps = 0
    for segment in found:
        first = segment.run << BITS
        rows = (first + segment.begin, first + min(segment.end, length))
        steps = max(steps, connection.execute(query, rows).fetchone()[0] or 0)
    return steps


def known(connection: sqlite3.Connection, name: str) -> Run:
    """A run by its name.

    Raises:
        StoreError: There is none.
    """
    run = find(connection, name)
    if run is None:
        raise StoreError(
            f"run {name!r} is not kept here: see what is with runs(), and that this is the file "
            "that it was written to"
        )
    return run


def hide(connection: sqlite3.Connection, name: str) -> None:
    """Delete a run as far as anybody sees; `sweep` removes its rows when no fork reads them."""
    run = known(connection, name)
    connection.execute("UPDATE runs SET name = NULL WHERE id = ?", (run.id,))


def sweep(connection: sqlite3.Connection) -> bool:
    """Remove some rows of deleted runs.

    Returns:
        Whether there were any; then call it again.
    """
    row = connection.execute(
        "SELECT id, length, base FROM runs AS run WHERE name IS NULL "
        "AND NOT EXISTS (SELECT 1 FROM runs WHERE parent = run.id) LIMIT 1"
    ).fetchone()
    if row is None:
        return False
    id_, length, base = row
    begin = max(base, length - _SLICE)
    full_text.remove(connection, id_, begin, lambda entry: _text_if_any(connection, id_, entry))
    first = id_ << BITS
    connection.execute(
        "DELETE FROM entries WHERE number BETWEEN ? AND ?", (first + begin, first + (1 << BITS) - 1)
    )
    if begin > base:
        connection.execute("UPDATE runs SET length = ? WHERE id = ?", (begin, id_))
    else:
        connection.execute("DELETE FROM runs WHERE id = ?", (id_,))
    return True


def _text_if_any(connection: sqlite3.Connection, run: int, entry: int) -> Searchable:
    # Of an entry that is damaged, some of the index stays behind: nobody searches it.
    try:
        return text_of(connection, run, entry)
    except (DamageError, StoreError):
        return NOTHING


Listed = tuple[bytes, bytes, str, int, int, float, float, bytes | None]


def listed(connection: sqlite3.Connection) -> list[Listed]:
    """What `Store.runs` says of each run, the one that was written to last first."""
    return connection.execute(
        "SELECT name, task, status, length, steps, created, updated, forked_from FROM runs "
        "WHERE name IS NOT NULL ORDER BY written DESC, id DESC"
    ).fetchall()
