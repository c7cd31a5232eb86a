"""Where model files are kept, and how it is known that they are whole.

::

    <cache>/
      <alias>.gguf           whole and verified, or not there
      <alias>.json           stamp: SHA-256, size and time of change when it was last hashed
      .staging/<alias>/      what an unfinished download has so far
      .locks/<alias>.lock    held by the process that downloads

The stamp spares the second or more that hashing half a gigabyte takes at each start; a file whose
size or time of change differs from its stamp is hashed again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from ..errors import CatalogError, DigestMismatch, DownloadError
from .entries import ModelFile, lookup
from .progress import Progress, megabytes

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class Verified:
    """A cached file whose every byte was hashed just now; `size` in bytes."""

    alias: str
    path: Path
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Stamp:
    """What was true when the file was last hashed; times in nanoseconds since the epoch."""

    sha256: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Slot:
    """The places of one model in the cache directory `root`."""

    model: ModelFile
    root: Path

    @property
    def final(self) -> Path:
        return self.root / self.model.filename

    @property
    def stamp(self) -> Path:
        return self.root / f"{self.model.alias}.json"

    @property
    def staging(self) -> Path:
        return self.root / ".staging" / self.model.alias

    @property
    def parts(self) -> Path:
        return self.staging / "parts"

    @property
    def lock(self) -> Path:
        return self.root / ".locks" / f"{self.model.alias}.lock"


def cache_dir() -> Path:
    """The directory of model files: ``LING_AGENT_CACHE``, else ``models`` in the user's cache."""
    chosen = os.environ.get("LING_AGENT_CACHE", "")
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("ling_agent", appauthor=False) / "models"


def slot_of(alias: str | ModelFile) -> Slot:
    """The places of a model. Raises ConfigurationError for an unknown alias."""
    return Slot(lookup(alias), cache_dir())


def cached_path(alias: str | ModelFile) -> Path | None:
    """The cached file when it is there and verified, else None; nothing is downloaded.

    A file without a fitting stamp (put there by hand, or touched) is hashed first.

    Raises:
        ConfigurationError: no such alias.
    """
    slot = slot_of(alias)
    try:
        state = slot.final.stat()
    except OSError:
        return None
    stamp = read_stamp(slot)
    expected = slot.model.sha256 or (stamp.sha256 if stamp else None)
    if expected is None:
        return None
    if stamp == Stamp(expected, state.st_size, state.st_mtime_ns):
        return slot.final
    if slot.model.sha256 and state.st_size != slot.model.size:
        return None
    try:
        if sha256_of(slot.final) != expected:
            return None
    except OSError:
        return None
    # A cache that may only be read is fine: the file is hashed at each start then.
    with suppress(OSError):
        write_stamp(slot, expected, slot.final)
    return slot.final


def verify(alias: str | ModelFile) -> Verified:
    """Hash the whole cached file and compare it with the catalogue's digest.

    For a model whose digest the catalogue does not have, it is the one that the hub stated when
    the file was downloaded.

    Raises:
        ConfigurationError: no such alias.
        DigestMismatch: the bytes differ; the message names both digests, the file is removed.
        CatalogError: the file is not in the cache, or cannot be read.
    """
    slot = slot_of(alias)
    name = slot.model.alias
    stamp = read_stamp(slot)
    expected = slot.model.sha256 or (stamp.sha256 if stamp else None)
    if expected is None or not slot.final.is_file():
        raise CatalogError(
            f"{name} is not in the cache {slot.root}; run: ling-agent models pull {name}"
        )
    try:
        actual = sha256_of(slot.final)
    except OSError as error:
        raise CatalogError(f"cannot read {slot.final}: {_reason(error)}") from error
    if actual != expected:
        raise digest_mismatch(slot, "the cache", actual, expected)
    with suppress(OSError):
        write_stamp(slot, expected, slot.final)
    return Verified(name, slot.final, actual, slot.final.stat().st_size)


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_stamp(slot: Slot) -> Stamp | None:
    """The stamp, or None when there is none or it cannot be read."""
    try:
        loaded: Any = json.loads(slot.stamp.read_text("utf-8"))
        fields = cast("dict[str, Any]", loaded)
        return Stamp(str(fields["sha256"]), int(fields["size"]), int(fields["mtime_ns"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_stamp(slot: Slot, sha256: str, file: Path) -> None:
    """Record that `file` was hashed; atomic, because another process may read it now."""
    state = file.stat()
    fresh = slot.stamp.with_name(f".{slot.stamp.name}.{os.getpid()}")
    fresh.write_text(json.dumps(asdict(Stamp(sha256, state.st_size, state.st_mtime_ns))), "utf-8")
    os.replace(fresh, slot.stamp)


def install(slot: Slot, partial: Path, sha256: str) -> Path:
    """Give a verified file its final name and drop the staging. Returns the final path.

    The stamp comes first: a rename keeps size and time, so the file is never there without it.
    """
    write_stamp(slot, sha256, partial)
    os.replace(partial, slot.final)
    shutil.rmtree(slot.staging, ignore_errors=True)
    return slot.final


def discard(slot: Slot) -> None:
    """Remove all that is kept of a model: file, stamp and unfinished download."""
    for path in (slot.final, slot.stamp):
        with suppress(OSError):
            path.unlink(missing_ok=True)
    shutil.rmtree(slot.staging, ignore_errors=True)


@contextmanager
def locked(slot: Slot, progress: Progress) -> Generator[None]:
    """Only one process (and thread) downloads a model; the others wait, with a note.

    Raises:
        DownloadError: the cache directory cannot be written.
    """
    from filelock import FileLock, Timeout

    with writable(slot):
        slot.lock.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(slot.lock)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.note(f"another process is downloading {slot.model.alias}; waiting for it")
            lock.acquire()
    try:
        with writable(slot):
            # Only now: whoever had the lock before may have removed it.
            slot.staging.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for directory in (slot.parts, slot.staging):
            with suppress(OSError):
                directory.rmdir()  # only when it is empty
        lock.release()


@contextmanager
def writable(slot: Slot) -> Generator[None]:
    """Turns an OSError of the block into one line that says what to do about the disk.

    A full disk is left without the unfinished download: nobody wants a full disk kept full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            # The mirror needs the parts and the whole at the same time.
            copies = 2 if slot.parts.exists() else 1
            shutil.rmtree(slot.staging, ignore_errors=True)
            raise disk_full(slot, copies * slot.model.size) from error
        raise DownloadError(
            f"cannot write the model cache {slot.root} ({_reason(error)}); "
            "set LING_AGENT_CACHE to a directory that can be written"
        ) from error


def require_space(slot: Slot, needed: int) -> None:
    """Raises DownloadError when fewer than `needed` bytes are free where the cache is."""
    with writable(slot):
        free = shutil.disk_usage(slot.root).free
    if free < needed:
        shutil.rmtree(slot.staging, ignore_errors=True)
        raise disk_full(slot, needed)


def disk_full(slot: Slot, needed: int) -> DownloadError:
    """The error for a disk that does not take the file; `needed` in bytes."""
    try:
        free = f", {megabytes(shutil.disk_usage(slot.root).free)} free"
    except OSError:
        free = ""
    return DownloadError(
        f"the disk is too full for {slot.model.alias}: {megabytes(needed)} needed in "
        f"{slot.root}{free}; free some space, or set LING_AGENT_CACHE to a larger disk"
    )


def digest_mismatch(slot: Slot, source: str, actual: str, expected: str) -> DigestMismatch:
    """Remove bytes that are not the catalogue's. Returns the error to raise about them."""
    discard(slot)
    name = slot.model.alias
    return DigestMismatch(
        f"wrong SHA-256 of {name} from {source}: expected {expected}, got {actual}; "
        f"the file was removed; to download it again run: ling-agent models pull {name}"
    )


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
