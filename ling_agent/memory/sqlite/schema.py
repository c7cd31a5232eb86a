"""The tables of a store's file, its version, and the steps from an older version to this one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from ...errors import StoreError
from .. import full_text

APPLICATION_ID = 0x4C696E67
"""What SQLite files of ling-agent have in their header: "Ling"."""

Migration = Callable[[sqlite3.Connection], None]

_TABLES = (
    # A run without a name is deleted, and is here as long as forks read its entries. `base` and
    # `base_pieces` say how many entries and pieces a fork has of its parent, `written` is the
    # order of the last writes. Names and texts are UTF-8 with lone surrogates, which TEXT is not.
    """CREATE TABLE runs(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name BLOB UNIQUE,
        status TEXT NOT NULL,
        task BLOB NOT NULL,
        created REAL NOT NULL,
        updated REAL NOT NULL,
        written INTEGER NOT NULL,
        length INTEGER NOT NULL,
        steps INTEGER NOT NULL,
        pieces INTEGER NOT NULL,
        parent INTEGER,
        base INTEGER NOT NULL,
        base_pieces INTEGER NOT NULL,
        forked_from BLOB
    )""",
    "CREATE INDEX runs_by_write ON runs(written)",
    "CREATE INDEX runs_by_parent ON runs(parent)",
    # `number` is the run's id << 32 and the entry's id: rows of a run stand together, and a row
    # of up to 4 kB needs no page of its own, as it would in a table without row ids.
    """CREATE TABLE entries(
        number INTEGER PRIMARY KEY,
        step INTEGER NOT NULL,
        mark INTEGER,
        codec INTEGER NOT NULL,
        crc INTEGER NOT NULL,
        body BLOB NOT NULL
    )""",
    *full_text.TABLES,
)


def _first(connection: sqlite3.Connection) -> None:
    for table in _TABLES:
        connection.execute(table)


MIGRATIONS: Sequence[Migration] = (_first,)
"""What brings a file from each version to the next; its version is how many were done."""


def check(connection: sqlite3.Connection, path: Path, newest: int) -> int:
    """Whose file this is.

    Returns:
        The version of its schema; 0 for an empty file.

    Raises:
        StoreError: It belongs to something else, or to a newer version.
    """
    inside = connection.in_transaction
    if not inside:  # of one state of the file: another process may be making it
        connection.execute("BEGIN")
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    finally:
        if not inside and connection.in_transaction:
            connection.execute("ROLLBACK")
    if application != APPLICATION_ID and (application or tables or version):
        raise StoreError(f"{path} is a database of another program: choose another path")
    if version > newest:
        raise StoreError(
            f"{path} was written by a newer ling-agent (schema {version}, this one reads up to "
            f"{newest}): upgrade ling-agent"
        )
    return int(version)


def migrate(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration] = MIGRATIONS
) -> None:
    """Bring a file to the newest version, in one transaction; what it holds stays.

    Raises:
        StoreError: See `check`.
    """
    if check(connection, path, len(migrations)) == len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been faster.
        version = check(connection, path, len(migrations))
        for migration in migrations[version:]:
            migration(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
