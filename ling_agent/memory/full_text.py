"""The full-text tables of SQLite (FTS5) on a connection: what is searched of runs, by number.

The index holds no texts, only where terms occur: texts are read back from the entries. A row is a
piece of a text; its number is the run's and the piece's, so that one run is a range of rows. Large
texts are put off: their pieces are noted, and indexed when they are first asked for.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .searchable import Piece, Searchable, pieces
from .terms import folded, is_single_cjk

LATER = 256_000
"""Characters of a text from which on it is indexed when it is first asked for."""

_BITS = 32
_LAST = (1 << _BITS) - 1
_SLICE = 512

TABLES = (
    "CREATE VIRTUAL TABLE terms USING fts5(text, content='', "
    'tokenize="porter unicode61 remove_diacritics 2")',
    "CREATE TABLE pieces(number INTEGER PRIMARY KEY, entry INTEGER NOT NULL, "
    "start INTEGER NOT NULL, length INTEGER NOT NULL)",
    "CREATE TABLE unindexed(first INTEGER PRIMARY KEY, last INTEGER NOT NULL)",
)


@dataclass(frozen=True, slots=True)
class Indexed:
    """An entry that is ready to be put into the index.

    Attributes:
        entry: Its id.
        pieces: The pieces of its searchable text.
        terms: For each what is indexed; None when that is put off.
    """

    entry: int
    pieces: tuple[Piece, ...]
    terms: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Span:
    """Pieces of one run, from its first on.

    Attributes:
        run: Number of the run.
        end: Number of the first piece that is not part of it; None for all.
    """

    run: int
    end: int | None = None

    @property
    def rows(self) -> tuple[int, int]:
        """First and last row that may be of it."""
        first = self.run << _BITS
        return first, first + (_LAST if self.end is None else self.end - 1)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A piece that matches."""

    run: int
    entry: int
    piece: Piece
    rank: float


def prepared(entry: int, text: Searchable) -> Indexed:
    """What the index takes of an entry; the slow part, which needs no connection."""
    parts = tuple(pieces(text.text))
    if len(text.text) > LATER:
        return Indexed(entry, parts, None)
    return Indexed(entry, parts, tuple(folded(part.of(text)) for part in parts))


def add(connection: sqlite3.Connection, run: int, first: int, entries: Iterable[Indexed]) -> int:
    """Put entries of a run into the index, behind the ``first`` pieces that it has.

    Returns:
        How many pieces it has now.
    """
    number = (run << _BITS) + first
    for indexed in entries:
        begin = number
        rows: list[tuple[int, int, int, int]] = []
        for part in indexed.pieces:
            rows.append((number, indexed.entry, part.start, part.length))
            number += 1
        connection.executemany("INSERT INTO pieces VALUES(?, ?, ?, ?)", rows)
        if indexed.terms is None and rows:
            connection.execute("INSERT INTO unindexed VALUES(?, ?)", (begin, number - 1))
        elif indexed.terms:
            terms = zip(range(begin, number), indexed.terms, strict=True)
            connection.executemany("INSERT INTO terms(rowid, text) VALUES(?, ?)", terms)
    return number - (run << _BITS)


def behind(connection: sqlite3.Connection, spans: Iterable[Span]) -> bool:
    """Whether pieces of these runs still have to be indexed."""
    query = "SELECT 1 FROM unindexed WHERE last >= ? AND first <= ?"
    return any(connection.execute(query, span.rows).fetchone() for span in spans)


def catch_up(
    connection: sqlite3.Connection, run: int, text_of: Callable[[int], Searchable]
) -> bool:
    """Index the next pieces of a run that were put off.

    Returns:
        Whether there were any.
    """
    query = "SELECT first, last FROM unindexed WHERE first BETWEEN ? AND ? LIMIT 1"
    row = connection.execute(query, Span(run).rows).fetchone()
    if row is None:
        return False
    first, last = row
    end = min(last, first + _SLICE - 1)
    _write(connection, first, end, text_of, "INSERT INTO terms(rowid, text) VALUES(?, ?)")
    connection.execute("DELETE FROM unindexed WHERE first = ?", (first,))
    if end < last:
        connection.execute("INSERT INTO unindexed VALUES(?, ?)", (end + 1, last))
    return True


def remove(
    connection: sqlite3.Connection, run: int, entry: int, text_of: Callable[[int], Searchable]
) -> None:
    """Take an entry and those behind it out of the index."""
    first, last = Span(run).rows
    query = "SELECT min(number) FROM pieces WHERE number BETWEEN ? AND ? AND entry >= ?"
    (begin,) = connection.execute(query, (first, last, entry)).fetchone()
    if begin is None:
        return
    # What was put off is not in the index: taking it out would leave false counts.
    waiting: list[tuple[int, int]] = connection.execute(
        "SELECT first, last FROM unindexed WHERE first BETWEEN ? AND ? ORDER BY first",
        (first, last),
    ).fetchall()
    statement = "INSERT INTO terms(terms, rowid, text) VALUES('delete', ?, ?)"
    for gap_first, gap_last in [*waiting, (last + 1, last + 1)]:
        if gap_first > begin:
            _write(connection, begin, gap_first - 1, text_of, statement)
        begin = max(begin, gap_last + 1)
    connection.execute(
        "DELETE FROM unindexed WHERE first IN (SELECT number FROM pieces "
        "WHERE number BETWEEN ? AND ? AND entry >= ?)",
        (first, last, entry),
    )
    connection.execute(
        "DELETE FROM pieces WHERE number BETWEEN ? AND ? AND entry >= ?", (first, last, entry)
    )


def _write(
    connection: sqlite3.Connection,
    first: int,
    last: int,
    text_of: Callable[[int], Searchable],
    statement: str,
) -> None:
    query = (
        "SELECT number, entry, start, length FROM pieces WHERE number BETWEEN ? AND ? "
        "ORDER BY number"
    )
    at, text = -1, Searchable("")
    for number, entry, start, length in connection.execute(query, (first, last)).fetchall():
        if entry != at:
            at, text = entry, text_of(entry)
        terms = folded(Piece(start, length).of(text))
        connection.execute(statement, (number, terms))


def matching(words: Iterable[str]) -> str:
    """A query for any of these words; every text is one."""
    return " OR ".join(
        f'"{word}" *' if is_single_cjk(word) else '"' + word.replace('"', '""') + '"'
        for word in words
    )


def count(connection: sqlite3.Connection, word: str, spans: Iterable[Span], most: int) -> int:
    """In how many pieces a word occurs; counts up to ``most`` in each span."""
    query = (
        "SELECT count(*) FROM (SELECT 1 FROM terms WHERE terms MATCH ? "
        "AND rowid BETWEEN ? AND ? LIMIT ?)"
    )
    asked = matching([word])
    counts = (connection.execute(query, (asked, *s.rows, most)).fetchone() for s in spans)
    return sum(row[0] for row in counts)


def size(connection: sqlite3.Connection, spans: Iterable[Span]) -> int:
    """About how many pieces these are."""
    query = "SELECT max(number) FROM pieces WHERE number BETWEEN ? AND ?"
    total = 0
    for span in spans:
        (newest,) = connection.execute(query, span.rows).fetchone()
        total += 0 if newest is None else (newest & _LAST) + 1
    return total


def candidates(
    connection: sqlite3.Connection, words: Sequence[str], spans: Iterable[Span], limit: int
) -> list[Candidate]:
    """Pieces with any of these words, the best by BM25 first."""
    query = (
        "SELECT number, entry, start, length, rank FROM "
        "(SELECT rowid AS row, bm25(terms) AS rank FROM terms WHERE terms MATCH ? "
        "AND rowid BETWEEN ? AND ? ORDER BY bm25(terms) LIMIT ?) JOIN pieces ON number = row"
    )
    found: list[Candidate] = []
    for span in spans:
        for number, entry, start, length, rank in connection.execute(
            query, (matching(words), *span.rows, limit)
        ):
            found.append(Candidate(number >> _BITS, entry, Piece(start, length), -rank))
    return sorted(found, key=lambda candidate: -candidate.rank)[:limit]
