"""Full-text search over runs' entries: what a hit is, and an index in this process' memory.

What is searched of an entry is in `searchable`, how words become terms in `terms`, the tables in
`full_text` and the order of hits in `ranking`. `SQLiteStore` uses the same parts on its file.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

    from .trajectory import Entry


@dataclass(frozen=True, slots=True)
class Hit:
    """A place that matches a query.

    Attributes:
        entry: Id of the entry.
        offset: Where the matching part begins, in characters of the message's own text. What is
            searched of an observation begins with its call, which does not count: a hit in it has
            the offset 0.
        text: The matching part, as it was written.
        score: The higher, the better; comparable within one search.
    """

    entry: int
    offset: int
    text: str
    score: float


class SearchIndex:
    """An index of runs in this process' memory; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, tuple[int, list[Entry]]] = {}  # number in the tables, entries
        self._pieces: dict[int, int] = {}
        self._connection: sqlite3.Connection | None = None

    def length(self, run: str) -> int:
        """How many entries of a run were added."""
        with self._lock:
            return len(self._runs[run][1]) if run in self._runs else 0

    def add(self, run: str, entries: Sequence[Entry]) -> None:
        """Add the next entries of a run."""
        from . import full_text
        from .searchable import searchable

        prepared = [full_text.prepared(entry.id, searchable(entry)) for entry in entries]
        with self._lock:
            connection = self._connect()
            number, kept = self._runs.setdefault(run, (len(self._runs) + 1, []))
            first = self._pieces.get(number, 0)
            with connection:
                self._pieces[number] = full_text.add(connection, number, first, prepared)
            kept.extend(entries)

    def search(self, run: str, query: str, *, limit: int = 10) -> list[Hit]:
        """Places that match, the best first."""
        from . import full_text, ranking
        from .searchable import searchable

        with self._lock:
            if run not in self._runs:
                return []
            connection = self._connect()
            number, kept = self._runs[run]
            with connection:
                while full_text.catch_up(connection, number, lambda entry: searchable(kept[entry])):
                    pass
            return ranking.find(
                connection,
                [full_text.Span(number)],
                query,
                lambda _, entry: searchable(kept[entry]),
                limit,
            )

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            import sqlite3

            from . import full_text

            self._connection = sqlite3.connect(":memory:", check_same_thread=False)
            for table in full_text.TABLES:
                self._connection.execute(table)
            weakref.finalize(self, self._connection.close)
        return self._connection
