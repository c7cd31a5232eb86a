"""Claims: each run is had by one at a time, within this process and among all processes.

`LocalClaims` are those of this process. `FileClaims` are locks on bytes of a file, which the
operating system gives back when a process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import sys
import threading
from collections.abc import Generator
from pathlib import Path

from ..errors import ConfigurationError, StoreError


class LocalClaims:
    """Who has what; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claimed: set[str] = set()

    @contextlib.contextmanager
    def claim(self, run_id: str) -> Generator[None, None, None]:
        """Have a run to oneself.

        Raises:
            ConfigurationError: A run of that name has not ended.
        """
        with self._lock:
            if run_id in self._claimed:
                raise ConfigurationError(
                    f"run {run_id!r} has not ended: wait for it, or use another session"
                )
            self._claimed.add(run_id)
        try:
            yield
        finally:
            with self._lock:
                self._claimed.discard(run_id)

    def claimed(self, run_id: str) -> bool:
        """Whether somebody has it."""
        with self._lock:
            return run_id in self._claimed


class _LockFile:
    """A file whose bytes this process locks.

    A process has one descriptor of it: closing any other would end all its locks.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.local = LocalClaims()
        self.held = 0
        self.process = os.getpid()


_lock = threading.Lock()
_files: dict[tuple[int, int], _LockFile] = {}
_paths: dict[Path, LocalClaims] = {}  # they stay when a file is removed while something is claimed


class FileClaims:
    """Claims among all processes that use the same file; safe to use from any thread.

    Where Windows is, ``msvcrt.locking`` takes the place of ``fcntl``; that is not tested.

    Args:
        path: A file for locks only. It is made when it is not there, and stays.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def claim(self, run_id: str) -> Generator[None, None, None]:
        """Have a run to oneself.

        Raises:
            ConfigurationError: Another thread or process has it.
            StoreError: The file cannot be locked.
        """
        with contextlib.ExitStack() as stack:
            with _lock:
                file = self._file()
                stack.enter_context(self._local().claim(run_id))
                stack.enter_context(file.local.claim(run_id))
                self._take(file, run_id)
                file.held += 1
            try:
                yield
            finally:
                _release(file, run_id)

    def claimed(self, run_id: str) -> bool:
        """Whether anybody has it, as far as can be seen."""
        with _lock:
            if self._local().claimed(run_id):
                return True
            if not self._path.exists():
                return False
            try:
                file = self._file()
            except StoreError:  # on a disk that is read-only nobody works
                return False
            return file.local.claimed(run_id) or holder(file.descriptor, _place(run_id)) != 0

    def _local(self) -> LocalClaims:
        return _paths.setdefault(self._path, LocalClaims())

    def close(self) -> None:
        """Close the file, unless something of it is claimed."""
        with _lock, contextlib.suppress(OSError):
            found = os.stat(self._path)
            file = _files.get((found.st_dev, found.st_ino))
            if file is not None and not file.held:
                del _files[found.st_dev, found.st_ino]
                os.close(file.descriptor)

    def _file(self) -> _LockFile:
        try:
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(self._path)
                if (file := _files.get((found.st_dev, found.st_ino))) is not None:
                    return file
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise StoreError(
                f"{self._path} cannot be opened to claim runs ({error.strerror}): see that its "
                "directory can be written to, or choose another path"
            ) from error
        found = os.fstat(descriptor)
        # One that is known all the same keeps this descriptor too: see `_LockFile`.
        return _files.setdefault((found.st_dev, found.st_ino), _LockFile(descriptor))

    def _take(self, file: _LockFile, run_id: str) -> None:
        try:
            taken = lock(file.descriptor, _place(run_id))
        except OSError as error:
            raise StoreError(
                f"{self._path} cannot be locked ({error.strerror}): choose a path on a disk of "
                "this machine"
            ) from error
        if not taken:
            process = holder(file.descriptor, _place(run_id))
            known = f" (pid {process})" if process > 0 else ""
            raise ConfigurationError(
                f"run {run_id!r} is being worked on by another process{known}: wait for it, end "
                "it, or use another session"
            )


def _release(file: _LockFile, run_id: str) -> None:
    if file.process != os.getpid():
        return  # A child: the lock is its parent's.
    with _lock:
        file.held -= 1
        unlock(file.descriptor, _place(run_id))


def _place(run_id: str) -> int:
    """The byte that stands for a run; different runs have different ones."""
    digest = hashlib.sha256(run_id.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") >> (34 if sys.platform == "win32" else 2)


def _after_fork() -> None:
    """A child has none of its parent's locks, and must not close a file that it gets anew."""
    global _lock
    _lock = threading.Lock()
    _files.clear()
    _paths.clear()


if sys.platform == "win32":
    import msvcrt

    def lock(descriptor: int, place: int) -> bool:
        """Lock a byte; whether nobody else has it."""
        os.lseek(descriptor, place, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def unlock(descriptor: int, place: int) -> None:
        """Give a byte back."""
        os.lseek(descriptor, place, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

    def holder(descriptor: int, place: int) -> int:
        """The process that has a byte; 0 when it is free, -1 when that is not known."""
        if not lock(descriptor, place):
            return -1
        unlock(descriptor, place)
        return 0

else:
    import fcntl

    # struct flock: type, whence, start, length, process.
    _FLOCK = {"linux": "hhqqi4x", "darwin": "qqihh"}.get(sys.platform)

    def lock(descriptor: int, place: int) -> bool:
        """Lock a byte; whether nobody else has it."""
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place, os.SEEK_SET)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def unlock(descriptor: int, place: int) -> None:
        """Give a byte back."""
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, place, os.SEEK_SET)

    def holder(descriptor: int, place: int) -> int:
        """The process that has a byte; 0 when it is free, -1 when that is not known."""
        if _FLOCK is None or struct.calcsize("P") != 8:
            if not lock(descriptor, place):
                return -1
            unlock(descriptor, place)
            return 0
        darwin = sys.platform == "darwin"
        asked = (place, 1, 0, fcntl.F_WRLCK, 0) if darwin else (fcntl.F_WRLCK, 0, place, 1, 0)
        found = struct.unpack(
            _FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(_FLOCK, *asked))
        )
        kind, process = (found[3], found[2]) if darwin else (found[0], found[4])
        return 0 if kind == fcntl.F_UNLCK else int(process) or -1

    os.register_at_fork(after_in_child=_after_fork)
