"""How a long download tells what it does: a bar on a terminal, lines or log records elsewhere."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichBar
    from rich.progress import TaskID

_log = logging.getLogger("ling_agent.catalog")


class Progress(Protocol):
    """What `pull` calls, from one thread. All counts are bytes."""

    def start(self, label: str, total: int) -> None:
        """A file of `total` bytes begins; called again when another source is tried."""
        ...

    def update(self, done: int) -> None:
        """`done` bytes of the file are here, those of an earlier attempt included."""
        ...

    def note(self, text: str) -> None:
        """One line that a user should see, for example why the mirror is used."""
        ...

    def close(self) -> None:
        """Nothing follows; called once, also after an error."""
        ...


class LogProgress:
    """Notes become log records of ``ling_agent.catalog``; bytes are not shown."""

    def start(self, label: str, total: int) -> None:
        _log.info("%s: %s", label, megabytes(total))

    def update(self, done: int) -> None:
        pass

    def note(self, text: str) -> None:
        _log.info("%s", text)

    def close(self) -> None:
        pass


class LineProgress:
    """A plain line for each tenth of the file: for pipes, logs and CI."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._label, self._total, self._tenth = "", 0, 0

    def start(self, label: str, total: int) -> None:
        self._label, self._total, self._tenth = label, total, 0
        self.note(f"{label}: {megabytes(total)}")

    def update(self, done: int) -> None:
        tenth = 10 * done // self._total if self._total else 0
        if tenth > self._tenth:
            self._tenth = tenth
            self.note(f"{self._label}: {10 * tenth} % of {megabytes(self._total)}")

    def note(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def close(self) -> None:
        pass


class RichProgress:
    """A bar with bytes, speed and remaining time, on standard error."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._bar: RichBar | None = None
        self._task: TaskID | None = None

    def start(self, label: str, total: int) -> None:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self.close()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._bar.start()
        self._task = self._bar.add_task(label, total=total)

    def update(self, done: int) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done)

    def note(self, text: str) -> None:
        # highlight and markup off: paths and digests are shown as they are.
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def terminal_progress() -> Progress:
    """A bar when standard error is a terminal (and rich is installed), else plain lines."""
    if not sys.stderr.isatty():
        return LineProgress()
    try:
        return RichProgress()
    except ImportError:
        return LineProgress()


def megabytes(size: int) -> str:
    """Bytes for people, in decimal units like the hub's: ``98.4 MB``, ``9.9 GB``."""
    if size >= 1_000_000_000:
        return f"{size / 1e9:.1f} GB"
    if size >= 1_000_000:
        return f"{size / 1e6:.1f} MB"
    return f"{size / 1e3:.1f} kB" if size >= 1000 else f"{size} bytes"
