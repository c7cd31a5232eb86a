"""`SQLiteStore`: the store of one file, for all threads and processes of a machine."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from ...errors import ConfigurationError, StoreError
from .. import full_text, ranking
from ..claims import FileClaims
from ..search import Hit
from ..searchable import Searchable, searchable
from ..store import RunInfo
from ..trajectory import Entry, Trajectory
from . import faults, runs
from .codec import to_row
from .database import Database
from .rescue import rescue_beside

T = TypeVar("T")


class SQLiteStore:
    """Keeps runs in a SQLite file; what `append` was given is on the disk when it returns.

    Threads and processes of one machine may use a file at once: each run by one at a time, see
    `claim`. The file is opened, and made, when it is first used; its directory too. It can be
    read by its owner only.

    Args:
        path: The file; a ``~`` at its beginning is the home directory.
        timeout: Seconds to wait while other processes write.

    Raises:
        ConfigurationError: An argument that makes no sense.
    """

    blocking: bool = True

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = 60.0) -> None:
        text = os.fspath(path)
        if not text or "\x00" in text or text == ":memory:":
            raise ConfigurationError(
                f"SQLiteStore needs the path of a file, not {text!r}: InMemoryStore keeps runs in "
                "this process"
            )
        if not 0 <= timeout < 1_000_000:
            raise ConfigurationError(f"timeout is {timeout}: give seconds, from 0 on")
        self.path = Path(text).expanduser().absolute()
        self._database = Database(self.path, timeout=timeout)
        self._saved: Path | None = None
        self._claims = FileClaims(self.path.with_name(f"{self.path.name}-claims"))

    def __repr__(self) -> str:
        return f"SQLiteStore({str(self.path)!r})"

    def append(self, run_id: str, entries: Sequence[Entry], *, status: str | None = None) -> None:
        """See `Store.append`."""
        with self._explained():
            batch = _batch(entries)
            self._database.write(lambda connection: runs.append(connection, run_id, batch, status))

    def load(self, run_id: str) -> Trajectory:
        """See `Store.load`."""

        def read(connection: sqlite3.Connection) -> Trajectory:
            found = runs.segments(connection, runs.known(connection, run_id))
            return Trajectory(runs.entries(connection, found))

        return self._read(read)

    def fork(self, run_id: str, into: str, length: int) -> None:
        """See `Store.fork`."""
        with self._explained():
            self._database.write(lambda connection: runs.fork(connection, run_id, into, length))

    def search(self, run_id: str, query: str, *, limit: int = 10) -> list[Hit]:
        """See `Store.search`.

        Texts of more than some 250,000 characters are put into the index when they are first
        searched, which takes a second for each 10 MB.
        """
        self._catch_up(run_id)
        return self._read(lambda connection: _search(connection, run_id, query, limit))

    def _catch_up(self, run_id: str) -> None:
        def waiting(connection: sqlite3.Connection) -> list[int]:
            run = runs.find(connection, run_id)
            found = [] if run is None else runs.spans(runs.segments(connection, run))
            return [span.run for span in found if full_text.behind(connection, [span])]

        texts = _Texts()

        def catch_up(connection: sqlite3.Connection, number: int) -> bool:
            return full_text.catch_up(connection, number, texts.of(connection, number))

        # What cannot be written now is left for later: the rest can be searched.
        with self._explained(), contextlib.suppress(sqlite3.OperationalError):
            for number in self._read(waiting):
                while self._database.write(lambda c, n=number: catch_up(c, n)):
                    pass

    def runs(self) -> list[RunInfo]:
        """See `Store.runs`."""
        return [self._info(row) for row in self._read(runs.listed)]

    def _info(self, row: runs.Listed) -> RunInfo:
        name, task, status, length, steps, created, updated, forked_from = row
        run_id = runs.to_text(name)
        if status == "running" and not self._claims.claimed(run_id):
            status = "interrupted"
        origin = None if forked_from is None else runs.to_text(forked_from)
        return RunInfo(run_id, runs.to_text(task), status, length, steps, created, updated, origin)

    def delete(self, run_id: str) -> None:
        """See `Store.delete`. The file keeps its size, for what comes next; see `vacuum`."""
        with self._explained():
            try:
                with self._claims.claim(run_id):
                    self._database.write(lambda connection: runs.hide(connection, run_id))
            except ConfigurationError:
                raise StoreError(f"run {run_id!r} is in use: delete it when it has ended") from None
            # In small transactions, so that others can write meanwhile. Whatever an end of the
            # process leaves, the next deletion removes.
            while self._database.write(runs.sweep):
                pass

    def claim(self, run_id: str) -> AbstractContextManager[None]:
        """See `Store.claim`.

        The claim is a lock in the file ``<path>-claims``, which ends with the process.
        """
        return self._claims.claim(run_id)

    def vacuum(self) -> None:
        """Make the file as small as what is in it, which takes as much space again meanwhile.

        Raises:
            StoreError: It cannot be written.
        """
        with self._explained():
            self._database.write(
                lambda connection: connection.execute("INSERT INTO terms(terms) VALUES('optimize')")
            )
            self._database.alone(_vacuum)

    def __contains__(self, run_id: object) -> bool:
        return isinstance(run_id, str) and self._read(
            lambda connection: runs.find(connection, run_id) is not None
        )

    def close(self) -> None:
        """Release the file and its connections; the next use opens them again."""
        self._database.close()
        self._claims.close()

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._explained():
            return self._database.read(work)

    @contextlib.contextmanager
    def _explained(self) -> Generator[None, None, None]:
        """Errors of SQLite as errors that say what to do; of a damaged file all is saved."""
        try:
            yield
        except (sqlite3.Error, faults.DamageError, OSError) as error:
            if faults.is_damage(error):
                # Reading the file as one ends the locks that open connections have on it.
                self._database.close()
                told, self._saved = rescue_beside(self.path, error, self._saved)
                raise told from error
            raise faults.explain(error, self.path, self._database.timeout) from error


def _batch(entries: Sequence[Entry]) -> runs.Batch:
    task = next((entry for entry in reversed(entries) if entry.kind == "task"), None)
    return runs.Batch(
        rows=[to_row(entry) for entry in entries],
        indexed=[full_text.prepared(entry.id, searchable(entry)) for entry in entries],
        steps=max((entry.step for entry in entries), default=0),
        time=max((entry.time for entry in entries), default=0.0),
        task=None if task is None else runs.task_of(task),
        withdrawn=any(entry.kind == "withdrawal" for entry in entries),
    )


class _Texts:
    """Searchable texts of entries, read once."""

    def __init__(self) -> None:
        self._read: dict[tuple[int, int], Searchable] = {}

    def of(self, connection: sqlite3.Connection, run: int) -> Callable[[int], Searchable]:
        """What gives the text of an entry of a run."""

        def text_of(entry: int) -> Searchable:
            if (run, entry) not in self._read:
                self._read[run, entry] = runs.text_of(connection, run, entry)
            return self._read[run, entry]

        return text_of


def _search(connection: sqlite3.Connection, run_id: str, query: str, limit: int) -> list[Hit]:
    run = runs.find(connection, run_id)
    if run is None:
        return []
    texts = _Texts()
    found = runs.spans(runs.segments(connection, run))
    return ranking.find(
        connection, found, query, lambda run, entry: texts.of(connection, run)(entry), limit
    )


def _vacuum(connection: sqlite3.Connection) -> None:
    connection.execute("VACUUM")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
