"""Connections to a store's file, set up so that a commit outlives a power cut."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from ...errors import StoreError
from . import faults, files
from .schema import APPLICATION_ID, Migration, check, migrate

_LEAST = 512
"""The size of the smallest page, in bytes."""

_creating = threading.Lock()
"""Closing a file ends all locks that this process has on it: nobody may open it meanwhile."""


def after_fork() -> None:
    """In a child process, whose parent may have held it."""
    global _creating
    _creating = threading.Lock()


def writer(path: Path, timeout: float, migrations: Sequence[Migration]) -> sqlite3.Connection:
    """A connection that writes; makes the file, and brings an older one to this version.

    Raises:
        StoreError: The file is not one of a store, or of a newer version; it is left as it is.
        sqlite3.Error, OSError: It cannot be opened.
    """
    with _creating:
        if path.is_dir():
            raise StoreError(f"{path} is a directory: give the path of a file in it")
        if files.identity(path) is None:
            files.create(path)
    connection = sqlite3.connect(
        path, timeout=timeout, isolation_level=None, check_same_thread=False
    )
    try:
        _refuse_others(connection, path)
        migrate(connection, path, migrations)
        _use_wal(connection, timeout)
        connection.execute("PRAGMA synchronous = FULL")
        # What was deleted is overwritten where that needs no further writing.
        connection.execute("PRAGMA secure_delete = FAST")
        connection.execute("PRAGMA cache_size = -8000")
        connection.execute(f"PRAGMA journal_size_limit = {1 << 24}")
    except BaseException:
        connection.close()
        raise
    return connection


def reader(path: Path, timeout: float, migrations: Sequence[Migration]) -> sqlite3.Connection:
    """A connection that reads a file that is there; a file of this version need not be writable.

    Raises:
        StoreError, sqlite3.Error, OSError: See `writer`.
    """
    if path.is_dir():
        raise StoreError(f"{path} is a directory: give the path of a file in it")
    connection = sqlite3.connect(
        path, timeout=timeout, isolation_level=None, check_same_thread=False
    )
    try:
        _refuse_others(connection, path)
        if check(connection, path, len(migrations)) < len(migrations):
            writer(path, timeout, migrations).close()
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA cache_size = -8000")
    except BaseException as error:
        connection.close()
        if faults.code(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            return _of_read_only_directory(path, error)
        raise
    return connection


def _of_read_only_directory(path: Path, error: BaseException) -> sqlite3.Connection:
    """Where no files can be made beside it, a file can be read as long as nobody writes it."""
    wal = Path(f"{path}-wal")
    if os.access(path.parent, os.W_OK) or (wal.exists() and wal.stat().st_size):
        raise error
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?immutable=1",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_others(connection: sqlite3.Connection, path: Path) -> None:
    if 0 < path.stat().st_size < _LEAST:  # SQLite takes that for an empty file, and writes over it
        raise _not_a_database(path)
    try:
        connection.execute("PRAGMA application_id").fetchone()
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        if faults.code(error) == sqlite3.SQLITE_NOTADB and not looks_like_ours(path):
            raise _not_a_database(path) from None
        raise


def _not_a_database(path: Path) -> StoreError:
    return StoreError(
        f"{path} is not a SQLite database: choose another path; if it was a store, "
        "ling_agent.memory.sqlite.rescue(path, into) saves what can be read"
    )


def looks_like_ours(path: Path) -> bool:
    """Whether a file that cannot be opened has our mark at its place."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(72)[68:] == APPLICATION_ID.to_bytes(4, "big")
    return False


def _use_wal(connection: sqlite3.Connection, timeout: float) -> None:
    """Readers and the writer do not wait for each other.

    The change needs the file for itself, and SQLite does not wait for that.
    """
    end = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            return
        except sqlite3.OperationalError as error:
            if not faults.is_busy(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)
