"""`History`: what was typed in earlier chats, in a file that only its owner can read."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import uuid
from collections.abc import Generator
from pathlib import Path

_ENTRIES = 1_000
_LONGEST = 10_000
"""Characters of an entry; longer ones, pasted above all, are kept for this chat only."""
_BYTES = 4_000_000
"""Size of the file at which it is cut to half of that."""


def history_file() -> Path:
    """The file in the user's state directory."""
    from platformdirs import user_state_path

    return user_state_path("ling-agent") / "chat_history.jsonl"


class History:
    """Entries, oldest first: JSON texts, one a line, so that an entry may have several lines.

    Args:
        file: Where they are kept; None keeps nothing.

    Attributes:
        entries: Those of earlier chats.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._last: str | None = None
        self.entries: list[str] = []
        if file is not None:
            with self._telling():
                self.entries = self._read(file)

    def add(self, text: str) -> None:
        """Keep an entry, unless it repeats the one before it."""
        if self._file is None or text == self._last or len(text) > _LONGEST:
            return
        self._last = text
        with self._telling():
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Appended, so that chats in other terminals lose nothing.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            with open(os.open(self._file, flags, 0o600), "a", encoding="ascii") as stream:
                stream.write(json.dumps(text) + "\n")

    def _read(self, file: Path) -> list[str]:
        try:
            data = file.read_bytes()
        except FileNotFoundError:
            return []
        lines = data.decode("ascii", "replace").splitlines()
        entries = [entry for line in lines if (entry := _entry(line)) is not None][-_ENTRIES:]
        if len(lines) > 2 * _ENTRIES or len(data) > _BYTES:
            while sum(map(len, entries)) > _BYTES // 16 and len(entries) > 1:
                del entries[: (len(entries) + 1) // 2]
            self._rewrite(file, entries)
        self._last = entries[-1] if entries else None
        return entries

    def _rewrite(self, file: Path, entries: list[str]) -> None:
        beside = file.with_name(f"{file.name}.{uuid.uuid4().hex[:8]}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with open(os.open(beside, flags, 0o600), "w", encoding="ascii") as stream:
            stream.writelines(json.dumps(entry) + "\n" for entry in entries)
        beside.replace(file)

    @contextlib.contextmanager
    def _telling(self) -> Generator[None, None, None]:
        """A chat works without a history, too: say once that there is none."""
        try:
            yield
        except OSError as error:
            told = f"what you type is not kept: {error}; with --no-history it is not tried"
            print(told, file=sys.stderr)
            self._file = None


def _entry(line: str) -> str | None:
    with contextlib.suppress(ValueError):
        entry: object = json.loads(line)
        if isinstance(entry, str):
            return entry
    return None  # half a line of a chat that was killed
