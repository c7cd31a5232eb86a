"""What went wrong with a file, as one line: what happened, and what to do."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from ...errors import StoreError


class DamageError(Exception):
    """What is kept is not what was written."""


_KNOWN = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space, then resume",
    sqlite3.SQLITE_READONLY: "it cannot be written to, it or its directory is read-only: change "
    "that, or choose another path",
    sqlite3.SQLITE_PERM: "access is denied: change its permissions, or choose another path",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: see that its directory exists, can be written "
    "to, and that it is a file",
    sqlite3.SQLITE_TOOBIG: "an entry is larger than SQLite takes, about 1 GB: keep it in a file",
    sqlite3.SQLITE_NOMEM: "there is not enough memory: free some, then resume",
    sqlite3.SQLITE_NOLFS: "the file system does not take files of this size: choose another path",
    sqlite3.SQLITE_IOERR: "the disk does not take it: see that it has space, that no quota or "
    "limit for file sizes is reached, and that it is there, then resume",
}


def code(error: BaseException) -> int:
    """SQLite's primary error code; 0 for other errors."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def is_damage(error: BaseException) -> bool:
    """Whether the file is not as SQLite, or this store, left it."""
    return isinstance(error, DamageError) or code(error) in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    )


def is_busy(error: BaseException) -> bool:
    """Whether it was only a matter of time."""
    return code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def explain(error: Exception, path: Path, timeout: float) -> StoreError:
    """The error that callers see."""
    if is_busy(error):
        return StoreError(
            f"{path} was locked by another process for {timeout:g} s: end that process, or give "
            "SQLiteStore a longer timeout"
        )
    kind = code(error)
    if kind == sqlite3.SQLITE_CANTOPEN and not os.access(path.parent, os.W_OK):
        kind = sqlite3.SQLITE_READONLY
    if (known := _KNOWN.get(kind)) is not None:
        return StoreError(f"{path} cannot be used ({one_line(error)}): {known}")
    if "no such module" in str(error):
        return StoreError(
            "the SQLite of this Python has no full-text search (FTS5): use another build of Python"
        )
    if isinstance(error, OSError):
        reason = error.strerror or one_line(error)
        return StoreError(f"{path} cannot be used ({reason}): see to that, or choose another path")
    return StoreError(f"{path} cannot be used: {one_line(error)}")


def one_line(error: BaseException) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
