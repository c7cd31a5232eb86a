"""What it takes to keep one more observation for good, against SQLite's own least.

Both write the same text in turn, in the same directory: the store with its row and its full-text
index, and a table of nothing but the text, in one transaction with one commit that waits for the
disk (``synchronous=FULL``, write-ahead log).
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass, field
from pathlib import Path

from ling_agent.memory import Entry
from ling_agent.memory.sqlite import SQLiteStore
from ling_agent.messages import ToolMessage

from . import steps
from .filler import Filler
from .run import SESSION

COUNT = 300


@dataclass(slots=True)
class Appended:
    """Seconds of each append, of the store and of bare SQLite."""

    store: list[float] = field(default_factory=list[float])
    bare: list[float] = field(default_factory=list[float])


def append(path: Path, bare_path: Path, count: int = COUNT) -> Appended:
    """Append observations to the run in a store, and the same texts to a bare table."""
    filler, measured = Filler(99), Appended()
    store, bare = SQLiteStore(path), _bare(bare_path)
    try:
        log = store.load(SESSION)
        for number in range(count):
            message = ToolMessage(f"call_{number}", steps.TOOL, filler.observation())
            call = f"{steps.TOOL}(page={number})"
            entry = log.append("observation", message, step=log.last_step, call=call)
            measured.store.append(_store_once(store, entry))
            measured.bare.append(_bare_once(bare, message.content))
    finally:
        store.close()
        bare.close()
    return measured


def _bare(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE texts(number INTEGER PRIMARY KEY, text TEXT NOT NULL)")
    return connection


def _store_once(store: SQLiteStore, entry: Entry) -> float:
    started = time.perf_counter()
    store.append(SESSION, [entry])
    return time.perf_counter() - started


def _bare_once(connection: sqlite3.Connection, text: str) -> float:
    started = time.perf_counter()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO texts(text) VALUES(?)", (text,))
    connection.execute("COMMIT")
    return time.perf_counter() - started
