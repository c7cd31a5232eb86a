"""Saving what can be read of a damaged file: run by run, entry by entry, into a new one.

The damaged file is only read. An entry that cannot be read is lost for itself: an entry of the
kind ``error`` takes its place, so that the others keep their ids.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from ...errors import StoreError
from . import faults
from .reading import DamagedFile, Found
from .saving import save


@dataclass(frozen=True, slots=True)
class Rescued:
    """What was saved of a damaged file.

    Attributes:
        path: The new file.
        runs: How many runs are in it.
        entries: How many entries could be read.
        lost: How many could not.
    """

    path: Path
    runs: int
    entries: int
    lost: int


def rescue(path: str | os.PathLike[str], into: str | os.PathLike[str]) -> Rescued:
    """Save what can be read of a damaged store into a new one; the damaged file is only read.

    Args:
        path: The damaged file.
        into: A file that is not there yet.

    Raises:
        StoreError: Nothing could be read, the new file is there already or cannot be written.
    """
    source, target = Path(path).expanduser().absolute(), Path(into).expanduser().absolute()
    if target.exists():
        raise StoreError(f"{target} is there already: give a path where nothing is")
    if not source.is_file():
        raise StoreError(f"{source} is not a file: give the path of the damaged store")
    try:
        with _readable(source) as file:
            found = file.read()
            if not found.runs:
                raise StoreError(f"nothing could be read of {source}: it has no runs")
            save(found, target)
    except (sqlite3.Error, OSError) as error:
        raise faults.explain(error, source, 0) from error
    return _rescued(found, target)


def _rescued(found: Found, target: Path) -> Rescued:
    runs = sum(run.name is not None for run in found.runs)
    read = sum(len(run.entries) for run in found.runs)
    return Rescued(target, runs, read, sum(run.lost for run in found.runs))


def rescue_beside(path: Path, cause: BaseException, saved: Path | None) -> tuple[StoreError, Path]:
    """Save what can be read next to the damaged file, once: copies would fill the disk.

    Args:
        path: The damaged file.
        cause: What is wrong with it.
        saved: Where it was saved before, if it was.

    Returns:
        What to tell about it, and where it is saved.
    """
    why = f"{path} is damaged ({faults.one_line(cause)})"
    number = 1
    while saved is None and (into := _beside(path, number)).exists():
        with contextlib.suppress(OSError):
            if into.stat().st_mtime >= _changed(path):
                saved = into
        number += 1
    if saved is not None and saved.exists():
        return StoreError(
            f"{why}: what could be read was saved in {saved} before; move the damaged file and its "
            "-wal away and use that one, or save the newest state with "
            "ling_agent.memory.sqlite.rescue(path, into)"
        ), saved
    into = _beside(path, number)
    try:
        result = rescue(path, into)
    except StoreError as error:
        return StoreError(f"{why}, and nothing could be saved: {error}"), into
    return StoreError(
        f"{why}: {result.entries} of {result.entries + result.lost} entries of {result.runs} runs "
        f"were saved in {into}; move the damaged file and its -wal away and use that one"
    ), into


def _beside(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}.rescued-{number}{path.suffix}")


def _changed(path: Path) -> float:
    """When a file, or what is not in it yet, was last written."""
    times = [path.stat().st_mtime]
    with contextlib.suppress(FileNotFoundError):
        wal = Path(f"{path}-wal").stat()
        times += [wal.st_mtime] if wal.st_size else []
    return min(max(times), time.time())


@contextlib.contextmanager
def _readable(path: Path) -> Generator[DamagedFile, None, None]:
    """The damaged file; when SQLite does not take it, a copy with a new first page."""
    with contextlib.closing(DamagedFile(path)) as file:
        if file.opens():
            yield file
            return
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".rescue-") as directory:
        copy = Path(directory, "copy.db")
        shutil.copyfile(path, copy)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(f"{path}-wal", f"{copy}-wal")
        _renew_first_page(copy, Path(directory, "new.db"))
        with contextlib.closing(DamagedFile(copy)) as file:
            if not file.opens():
                raise StoreError(f"nothing could be read of {path}: its first page is lost")
            yield file


def _renew_first_page(path: Path, new: Path) -> None:
    """The first page says where the tables begin, which is the same in each new file."""
    from .connections import writer
    from .schema import MIGRATIONS

    writer(new, 0, MIGRATIONS).close()
    page = bytearray(new.read_bytes()[:4096])
    page[28:32] = (path.stat().st_size // 4096).to_bytes(4, "big")
    with open(path, "r+b") as file:
        file.write(page)
