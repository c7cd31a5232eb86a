"""The results directory: what an evaluation has found so far, safe against every way to end.

::

    DIR/manifest.json     which evaluation this is; replaced as a whole
    DIR/results.jsonl     one line an outcome, appended and flushed to the disk
    DIR/results.lock      held by the process that writes

A process that is killed leaves at most one torn line, the last. It is cut off when the next one
goes on; nothing else is ever rewritten.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigurationError, StoreError
from .benchmark import Outcome
from .lines import from_line, to_line
from .machine import session
from .manifest import Manifest, from_json

MANIFEST = "manifest.json"
LINES = "results.jsonl"
LOCK = "results.lock"


@dataclass(frozen=True, slots=True)
class Results:
    """What came out.

    Attributes:
        directory: Where it is kept.
        manifest: Which evaluation it is.
        outcomes: One of each case that was run, by category and id.
        stopped: Why the evaluation ended before its last case; empty when it did not, or was read
            from the disk.
    """

    directory: Path
    manifest: Manifest
    outcomes: tuple[Outcome, ...]
    stopped: str = ""

    @property
    def complete(self) -> bool:
        """Whether every case has its outcome."""
        return len(self.outcomes) >= self.manifest.total


class ResultsWriter:
    """Appends outcomes; see `writing`.

    Attributes:
        manifest: As it is on the disk.
        outcomes: What is there, by case.
    """

    def __init__(self, directory: Path, manifest: Manifest, outcomes: dict[str, Outcome]) -> None:
        self._directory = directory
        self._file = (directory / LINES).open("ab", buffering=0)
        self._begun = False
        self.manifest = manifest
        self.outcomes = outcomes

    def begin(self) -> None:
        """Keep when, on what and by which code it is gone on with; before the first outcome.

        Raises:
            StoreError: The disk does not take it.
        """
        if not self._begun:
            sessions = (*self.manifest.sessions, session())
            self.manifest = dataclasses.replace(self.manifest, sessions=sessions)
            with _told(self._directory):
                _replace(self._directory / MANIFEST, self.manifest.to_json())
            self._begun = True

    def append(self, outcome: Outcome) -> None:
        """Keep an outcome; one of the same case takes its place.

        Raises:
            StoreError: The disk does not take it; what was kept before is whole.
        """
        self.begin()
        before = self._file.seek(0, os.SEEK_END)
        try:
            line = memoryview(f"{to_line(outcome)}\n".encode())
            while line:
                line = line[self._file.write(line) or 0 :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(before)
            raise StoreError(
                f"cannot write {self._directory / LINES} ({error.strerror}): make room, then run "
                "the same command again"
            ) from error
        self.outcomes[outcome.case] = outcome

    def results(self, stopped: str = "") -> Results:
        """What there is now."""
        ordered = _ordered(self.manifest, self.outcomes)
        return Results(self._directory, self.manifest, ordered, stopped)

    def close(self) -> None:
        """Nothing follows."""
        self._file.close()


@contextlib.contextmanager
def writing(directory: Path, manifest: Manifest) -> Generator[ResultsWriter, None, None]:
    """Begin an evaluation in a directory, or go on with the one that is there.

    Raises:
        ConfigurationError: The directory holds another evaluation (the message says what differs),
            or another process writes to it.
        StoreError: It cannot be written or read.
    """
    from filelock import FileLock, Timeout

    with _told(directory):
        directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ConfigurationError(
                f"another evaluation writes to {directory}: wait for it, or give another directory"
            ) from None
    try:
        with _told(directory):
            found = _going_on(directory, manifest)
            outcomes = _read_lines(directory / LINES, cut=True)
            writer = ResultsWriter(directory, found or manifest, outcomes)
        try:
            if found is None:
                writer.begin()
            yield writer
        finally:
            writer.close()
    finally:
        lock.release()


def read_results(directory: Path) -> Results:
    """What a directory holds, also while an evaluation writes to it.

    Raises:
        ConfigurationError: There is no evaluation, or one of another format.
        StoreError: It cannot be read.
    """
    with _told(directory):
        manifest = _read_manifest(directory)
        if manifest is None:
            raise ConfigurationError(
                f"{directory} holds no evaluation ({MANIFEST} is not there): give the directory "
                "that ling-agent eval wrote to"
            )
        outcomes = _read_lines(directory / LINES)
    return Results(directory, manifest, _ordered(manifest, outcomes))


def _going_on(directory: Path, manifest: Manifest) -> Manifest | None:
    """The manifest that is there, if it is one of the same evaluation."""
    found = _read_manifest(directory)
    if found is None:
        if (directory / LINES).exists():
            raise ConfigurationError(
                f"{directory} has {LINES} and no {MANIFEST}: give another directory"
            )
        return None
    differences = manifest.differences(found)
    if differences:
        rest = f", and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise ConfigurationError(
            f"{directory} holds another evaluation: {'; '.join(differences[:3])}{rest}; "
            "give another directory, or the settings that it was begun with"
        )
    return found


def _read_manifest(directory: Path) -> Manifest | None:
    file = directory / MANIFEST
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    return from_json(text, where=str(file))


def _read_lines(file: Path, *, cut: bool = False) -> dict[str, Outcome]:
    """The outcomes of a file, the last of each case. A torn last line is left out, and cut off.

    Raises:
        StoreError: Another line cannot be read.
    """
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return {}
    outcomes: dict[str, Outcome] = {}
    lines = data.splitlines(keepends=True)
    good = 0
    for number, line in enumerate(lines, start=1):
        try:
            if not line.endswith(b"\n"):
                raise ValueError("it does not end")
            outcome = from_line(line)
        except ValueError as error:
            if number == len(lines):
                break
            raise StoreError(
                f"{file} line {number} cannot be read ({error}): delete that line, and its case is "
                "run again"
            ) from None
        outcomes[outcome.case] = outcome
        good += len(line)
    if cut and good < len(data):
        os.truncate(file, good)
    return outcomes


def _ordered(manifest: Manifest, outcomes: dict[str, Outcome]) -> tuple[Outcome, ...]:
    places = {category: place for place, category in enumerate(manifest.cases)}

    def place(outcome: Outcome) -> tuple[int, list[tuple[int, str]]]:
        return places.get(outcome.category, len(places)), natural(outcome.case)

    return tuple(sorted(outcomes.values(), key=place))


def natural(name: str) -> list[tuple[int, str]]:
    """A key that puts ``case_2`` before ``case_10``."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts if part]


def _replace(file: Path, text: str) -> None:
    """Write a file so that it is the old one or the new one, whatever happens."""
    new = file.with_suffix(".new")
    with new.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)


@contextlib.contextmanager
def _told(directory: Path) -> Generator[None, None, None]:
    """An error of the disk as one line."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot use the directory {directory}: {error.strerror}") from error
