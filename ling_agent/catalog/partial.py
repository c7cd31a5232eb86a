"""A file that grows over several attempts and is hashed while it is written."""

from __future__ import annotations

import hashlib
import os
from types import TracebackType
from typing import Self

from .cache import Slot, writable
from .progress import Progress

_BLOCK = 1 << 20


class PartialFile:
    """``<alias>.gguf.<digest>.partial`` in the staging directory, opened for appending.

    The bytes of an earlier attempt are hashed on entry. The expected digest is a part of the name,
    so that bytes of another revision are never continued. Errors of the disk come out as
    `DownloadError`; what the network does inside the block is not touched.

    Args:
        slot: Whose file it is.
        expected: Hex digest that the finished file must have.
        progress: Told the size after each write.
    """

    def __init__(self, slot: Slot, expected: str, progress: Progress) -> None:
        self.path = slot.staging / f"{slot.model.filename}.{expected[:12]}.partial"
        self.size = 0
        self._slot = slot
        self._progress = progress
        self._hash = hashlib.sha256()

    def __enter__(self) -> Self:
        with writable(self._slot):
            # Not "ab": a truncated restart must not depend on the append mode's own position.
            self._file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
            while block := self._file.read(_BLOCK):
                self._hash.update(block)
                self.size += len(block)
        self._progress.update(self.size)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Closing flushes, and flushing may find the disk full: the first error is the one to tell.
        try:
            with writable(self._slot):
                self._file.close()
        except Exception:
            if error is None:
                raise

    def write(self, block: bytes) -> None:
        """Append; raises DownloadError when the disk does not take it."""
        with writable(self._slot):
            self._file.write(block)
        self._hash.update(block)
        self.size += len(block)
        self._progress.update(self.size)

    def restart(self) -> None:
        """Throw away what is here, for a server that sends from the first byte again."""
        with writable(self._slot):
            self._file.seek(0)
            self._file.truncate()
        self._hash = hashlib.sha256()
        self.size = 0

    def finish(self) -> str:
        """Force the bytes to the disk. Returns the SHA-256 of all of them, lower-case hex."""
        with writable(self._slot):
            self._file.flush()
            os.fsync(self._file.fileno())
        return self._hash.hexdigest()
