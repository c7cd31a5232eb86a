"""Writes a recipe's file: never over another one, and never half of it."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

from ..errors import ConfigurationError


def write(file: Path, text: str, *, force: bool = False) -> None:
    """Write a text file in one step, and its folder if there is none. A script can be run.

    Args:
        file: Where.
        text: What; lines end with a line feed.
        force: Whether to replace a file that is there.

    Raises:
        ConfigurationError: The file is there, or cannot be written.
    """
    beside = file.with_name(f".{uuid.uuid4().hex}")
    if file.parent.exists() and not file.parent.is_dir():
        raise ConfigurationError(f"{file.parent} is a file: name a folder")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(file) and not force:
            raise FileExistsError
        try:
            beside.write_text(text, encoding="utf-8", newline="\n")
            if file.suffix == ".sh":
                beside.chmod(beside.stat().st_mode | 0o111)
            _name(beside, file, force)
        finally:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
    except FileExistsError:
        raise ConfigurationError(f"{file} is there already: --force replaces it") from None
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}") from None


def _name(beside: Path, file: Path, force: bool) -> None:
    """Give the written file its name, unless somebody has that by now."""
    if force:
        beside.replace(file)
        return
    try:
        os.link(beside, file)
    except FileExistsError:
        raise
    except OSError:  # no hard links here
        if os.path.lexists(file):
            raise FileExistsError from None
        beside.replace(file)
