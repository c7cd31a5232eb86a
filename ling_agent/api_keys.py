"""API keys of clients, of the chat API and of MCP: where they come from, and who has one."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, runtime_checkable

from .errors import ConfigurationError

VARIABLE = "LING_AGENT_SERVE_KEY"
"""The client's key, not to be mixed up with that of the model's server."""


@runtime_checkable
class Secret(Protocol):
    """What holds a text back, as pydantic's ``SecretStr`` does."""

    def get_secret_value(self) -> str:
        """The text."""
        ...


Key = str | Secret


class Keys:
    """The keys that are accepted; it holds their digests only, and has no repr of them."""

    def __init__(self, given: Key | Iterable[Key] = ()) -> None:
        """Take the keys.

        Raises:
            ConfigurationError: One that cannot be sent; the message does not repeat it.
        """
        several = [given] if isinstance(given, str | Secret) else list(given)
        self._digests = [_digest(_text(key).encode()) for key in several]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def accept(self, authorization: bytes) -> bool:
        """Whether an ``Authorization`` header has one; it takes as long for any key."""
        scheme, _, key = authorization.partition(b" ")
        seen = _digest(key.strip())
        found = [hmac.compare_digest(seen, digest) for digest in self._digests]  # all of them
        return scheme.lower() == b"bearer" and any(found)


def read_keys(given: Iterable[str], file: str | None) -> list[str]:
    """Keys of the options, of a file with one a line, and of the environment.

    Raises:
        ConfigurationError: The file cannot be read, or has none.
    """
    keys = [*given, *(_of_file(file) if file is not None else ())]
    if variable := os.environ.get(VARIABLE):
        keys.append(variable)
    return keys


def _of_file(file: str) -> list[str]:
    try:
        lines = Path(file).expanduser().read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigurationError(f"the file of API keys {file} cannot be read: {why}") from None
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not keys:
        raise ConfigurationError(f"the file of API keys {file} has none: write one a line")
    return keys


def _text(key: Key) -> str:
    text = key if isinstance(key, str) else key.get_secret_value()
    if not text or not (text.isascii() and text.isprintable()) or " " in text:
        raise ConfigurationError(
            "an API key is empty or holds characters that no header can: look at it"
        )
    return text


def _digest(key: bytes) -> bytes:
    """Of one length, so that comparing tells nothing about the key's."""
    return hashlib.sha256(key).digest()
