"""The store's file as a file: made for its owner only, and noticed when it is gone."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import uuid
from pathlib import Path

from ...errors import StoreError

Identity = tuple[int, int]


def identity(path: Path) -> Identity | None:
    """Which file it is; None when there is none."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def create(path: Path) -> None:
    """Make an empty file, and its directory, where there is none.

    What agents have seen and done is their owner's: nobody else can read it.

    Raises:
        StoreError, OSError: It cannot be made.
    """
    if path.parent.exists() and not path.parent.is_dir():
        raise StoreError(f"{path.parent} is not a directory: choose another path")
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def restore(connection: sqlite3.Connection, path: Path) -> None:
    """Write a file that was removed anew, from a connection that still has it.

    Raises:
        StoreError: There is another file of that name by now.
        OSError, sqlite3.Error: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        # An empty file is taken, with its permissions.
        os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        connection.execute("VACUUM INTO ?", (str(beside),))
        _sync(beside)
        # What belongs to the removed file would be taken for the new one's.
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{path}{suffix}")
        _put(beside, path)
        if os.name == "posix":
            _sync(path.parent)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put(beside: Path, path: Path) -> None:
    """Give a file its name, unless another has it."""
    try:
        os.link(beside, path)
    except FileExistsError:
        raise StoreError(f"{path} was replaced by another file: nothing was written") from None
    except OSError:  # A file system without links.
        if path.exists():
            raise StoreError(f"{path} was replaced by another file: nothing was written") from None
        os.rename(beside, path)
