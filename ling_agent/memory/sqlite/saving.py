"""Writing what was read of a damaged file into a new one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ...errors import StoreError
from .. import full_text
from ..searchable import searchable
from ..trajectory import Entry
from .codec import Row, from_row, to_row
from .database import Database
from .faults import DamageError
from .reading import Found, FoundRun
from .runs import BITS

LOST = "this entry was lost: its place in the file was damaged"
"""What stands in an entry for one that could not be read."""


def save(found: Found, into: Path) -> None:
    """Write runs, their entries and their index; all or nothing."""
    database = Database(into, timeout=60)
    try:
        for run in found.runs:
            database.write(lambda connection, run=run: _save(connection, run, found))
    except BaseException:
        database.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{into}{suffix}").unlink(missing_ok=True)
        raise
    finally:
        database.close()


def _save(connection: sqlite3.Connection, run: FoundRun, found: Found) -> None:
    parent = run.parent if any(other.id == run.parent for other in found.runs) else None
    # Without its parent a fork begins with what is lost.
    begin = run.base if parent is not None else 0
    first, pieces = run.id << BITS, 0
    for id_ in range(begin, run.length):
        row = run.entries.get(id_) or _lost(id_, run.created)
        connection.execute(
            "INSERT INTO entries VALUES(?, ?, ?, ?, ?, ?)",
            (first + id_, row.step, row.mark, row.codec, row.crc, row.body),
        )
        pieces = full_text.add(connection, run.id, pieces, _indexed(row))
    base_pieces = 0
    if parent is not None:
        (base_pieces,) = connection.execute(
            "SELECT count(*) FROM pieces WHERE number BETWEEN ? AND ? AND entry < ?",
            (*full_text.Span(parent).rows, begin),
        ).fetchone()
    connection.execute(
        "INSERT INTO runs(id, name, status, task, created, updated, written, length, steps, "
        "pieces, parent, base, base_pieces, forked_from) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            *(run.id, run.name, run.status, run.task, run.created, run.updated, run.written),
            *(run.length, run.steps, pieces, parent, begin, base_pieces, run.forked_from),
        ),
    )


def _lost(id_: int, time: float) -> Row:
    parent = id_ - 1 if id_ else None
    return to_row(Entry(id_, parent, 0, "error", data={"error": LOST}, time=time))


def _indexed(row: Row) -> list[full_text.Indexed]:
    try:
        entry = from_row(row.id, row.step, row.codec, row.crc, row.body)
    except (DamageError, StoreError):
        return []
    return [full_text.prepared(row.id, searchable(entry))]
