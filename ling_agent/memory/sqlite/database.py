"""The file with its connections: one that writes and one that reads, for all threads.

Writers queue. Whoever has the writing connection commits for all that wait: a commit waits for
the disk, and one wait is enough for many. Each is a savepoint of its own and fails for itself.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ...errors import StoreError
from . import connections, faults, files
from .schema import MIGRATIONS, Migration

T = TypeVar("T")

_LOGGER = logging.getLogger("ling_agent.memory")
_LOST: list[sqlite3.Connection] = []
"""Connections of a parent process: a child must neither use nor close them."""


class _Job:
    """Something to be written, and what came of it."""

    def __init__(self, work: Callable[[sqlite3.Connection], None]) -> None:
        self.work = work
        self.done = False
        self.error: BaseException | None = None


class Database:
    """Reads and writes a file; opens it when it is first used.

    Args:
        path: The file.
        timeout: Seconds to wait for other processes.
        migrations: What brings older files to this version.
    """

    def __init__(
        self, path: Path, *, timeout: float, migrations: Sequence[Migration] = MIGRATIONS
    ) -> None:
        self.path = path
        self.timeout = timeout
        self._migrations = migrations
        self._queue: deque[_Job] = deque()
        self._open: dict[str, sqlite3.Connection] = {}
        self._identity: files.Identity | None = None
        self._wal: files.Identity | None = None
        self._new_locks()
        _databases.add(self)
        weakref.finalize(self, _close, self._open)

    def _new_locks(self) -> None:
        self._writing = threading.RLock()
        self._reading = threading.RLock()

    def after_fork(self) -> None:
        """In a child process: connections are its parent's."""
        _LOST.extend(self._open.values())
        self._open.clear()
        self._queue.clear()
        self._new_locks()

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something in a transaction that is on the disk when this returns.

        Raises:
            sqlite3.Error, OSError, StoreError: It failed, and nothing of it is kept.
        """
        results: list[T] = []
        job = _Job(lambda connection: results.append(work(connection)))
        self._queue.append(job)
        with self._writing:
            if not job.done:
                self._write_all(job)
        if job.error is not None:
            raise job.error
        return results[-1]

    def _write_all(self, own: _Job) -> None:
        jobs: list[_Job] = []
        while self._queue:
            jobs.append(self._queue.popleft())
        try:
            self._commit(self._writer(), jobs)
        except BaseException as error:
            for job in jobs:
                job.error = job.error or error
                if job is not own and not isinstance(job.error, Exception):  # Ctrl-C is for one
                    job.error = StoreError("writing was interrupted: try again")
            if not faults.is_busy(error) and isinstance(error, (sqlite3.Error, OSError)):
                self._release()
        finally:
            for job in jobs:
                job.done = True

    def _commit(self, connection: sqlite3.Connection, jobs: list[_Job]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            if len(jobs) == 1:
                jobs[0].work(connection)
            else:
                for job in jobs:
                    self._apart(connection, job)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._wal = self._wal or files.identity(self._wal_path)

    def _apart(self, connection: sqlite3.Connection, job: _Job) -> None:
        connection.execute("SAVEPOINT job")
        try:
            job.work(connection)
        except Exception as error:
            # Some faults, a full disk for one, end the whole transaction.
            if not connection.in_transaction or faults.is_damage(error):
                raise
            job.error = error
            connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something that reads, on one state of the file; without a file there is nothing.

        Raises:
            sqlite3.Error, OSError, StoreError: It failed.
        """
        if "reader" not in self._open and self._is_elsewhere():
            with self._writing:
                if (writer := self._open.get("writer")) is not None:
                    return _reading(writer, work)
        with self._reading:
            if "reader" not in self._open and files.identity(self.path) is None:
                return self._read_nothing(work)
            try:
                return _reading(self._reader(), work)
            except (sqlite3.Error, OSError) as error:
                if not faults.is_busy(error) and (reader := self._open.pop("reader", None)):
                    reader.close()
                raise

    def _is_elsewhere(self) -> bool:
        """Whether only the writing connection still has the file."""
        return "writer" in self._open and files.identity(self.path) != self._identity

    def _read_nothing(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        try:
            for migration in self._migrations:
                migration(connection)
            return work(connection)
        finally:
            connection.close()

    def alone(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something on the writing connection that no transaction may be around."""
        with self._writing:
            return work(self._writer())

    def close(self) -> None:
        """Release the connections; the next use opens them again."""
        with self._writing, self._reading:
            self._release()
            self._identity = None

    def _release(self) -> None:
        with self._reading:
            _close(self._open)

    def _reader(self) -> sqlite3.Connection:
        if "reader" not in self._open:
            self._open["reader"] = connections.reader(self.path, self.timeout, self._migrations)
        return self._open["reader"]

    def _writer(self) -> sqlite3.Connection:
        found = files.identity(self.path)
        if found is not None and self._identity not in (None, found):
            raise StoreError(
                f"{self.path} was replaced by another file while it was open: nothing was written "
                "to that; put the old one back, or close the store to go on with the new one"
            )
        writer = self._open.get("writer")
        if writer is not None and found is None:
            self._write_anew(writer)
            writer = None
        elif writer is not None and self._wal not in (None, files.identity(self._wal_path)):
            self._keep_wal(writer)
            writer = None
        if writer is None:
            writer = connections.writer(self.path, self.timeout, self._migrations)
            self._open["writer"] = writer
            self._identity = files.identity(self.path)
            self._wal = None
        return writer

    @property
    def _wal_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}-wal")

    def _keep_wal(self, writer: sqlite3.Connection) -> None:
        """The file's last commits were removed, and the open connection still has them."""
        if self._wal_path.exists():
            raise StoreError(
                f"{self._wal_path} was replaced while it was open: nothing was written; end the "
                "other programs that use it, then close the store to go on"
            )
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self._release()
        _LOGGER.warning("%s was removed while it was open; nothing is lost", self._wal_path)

    def _write_anew(self, writer: sqlite3.Connection) -> None:
        """The file was removed, and the open connection still has all of it."""
        try:
            files.restore(writer, self.path)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"{self.path} was removed while it was open and cannot be written anew "
                f"({faults.one_line(error)}): see that its directory can be written to, then resume"
            ) from error
        self._release()
        self._identity = None
        _LOGGER.warning("%s was removed while it was open, and was written anew", self.path)


def _reading(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    connection.execute("BEGIN")
    try:
        return work(connection)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _close(connections: dict[str, sqlite3.Connection]) -> None:
    while connections:
        connections.popitem()[1].close()


_databases: weakref.WeakSet[Database] = weakref.WeakSet()


def _after_fork() -> None:
    connections.after_fork()
    for database in list(_databases):
        database.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
