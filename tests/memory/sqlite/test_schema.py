"""The version of a file: older ones are brought here with what they hold, newer ones refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from ling_agent import StoreError
from ling_agent.memory.sqlite import SQLiteStore
from ling_agent.memory.sqlite.database import Database
from ling_agent.memory.sqlite.schema import MIGRATIONS
from tests.memory.entries import log


@pytest.fixture
def path(tmp_path: Path) -> Path:
    store = SQLiteStore(tmp_path / "runs.db")
    store.append("a", log(5))
    store.close()
    return store.path


def version(path: Path) -> int:
    connection = sqlite3.connect(path)
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return found


def add_notes(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE runs ADD COLUMN note TEXT NOT NULL DEFAULT 'none'")


def fill_notes(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE runs SET note = 'run ' || id")


def notes(connection: sqlite3.Connection) -> list[str]:
    return [note for (note,) in connection.execute("SELECT note FROM runs")]


@pytest.mark.parametrize("first", ["read", "write"])
def test_a_migration_keeps_what_is_there(path: Path, first: str) -> None:
    assert version(path) == len(MIGRATIONS)
    newer = Database(path, timeout=1, migrations=[*MIGRATIONS, add_notes, fill_notes])
    assert (newer.read if first == "read" else newer.write)(notes) == ["run 1"]
    newer.close()
    assert version(path) == len(MIGRATIONS) + 2


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    def fails(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM entries")
        raise RuntimeError("half way")

    newer = Database(path, timeout=1, migrations=[*MIGRATIONS, add_notes, fails])
    with pytest.raises(RuntimeError, match="half way"):
        newer.write(notes)
    newer.close()
    store = SQLiteStore(path)
    assert len(store.load("a")) == 5
    store.close()
    assert version(path) == len(MIGRATIONS)


def test_a_newer_file_is_refused_as_it_is(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    content = path.read_bytes()
    store = SQLiteStore(path)
    message = rf"written by a newer ling-agent \(schema 7, this one reads up to {len(MIGRATIONS)}\)"
    with pytest.raises(StoreError, match=f"{message}: upgrade"):
        store.load("a")
    with pytest.raises(StoreError, match=message):
        store.append("a", [])
    store.close()
    assert path.read_bytes() == content
