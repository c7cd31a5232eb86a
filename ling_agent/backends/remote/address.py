"""`Address`: what stands behind the scheme of a backend string.

``http://a:8000,http://b:8000/v1#model``: one base URL or several of servers that serve the same
model, ``/v1`` or not, and the name of the served model behind ``#``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from ...errors import ConfigurationError

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_USER = re.compile(r"//[^/?#]*@")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a model is served.

    Attributes:
        urls: Base URLs without ``/v1`` and without a slash at the end, each once.
        model: Name of the served model; None takes the only one that the server lists.
    """

    urls: tuple[str, ...]
    model: str | None = None

    def __str__(self) -> str:
        """As it is written in a backend string."""
        return ",".join(self.urls) + (f"#{self.model}" if self.model else "")


def parse_address(text: str, *, example: str = "vllm:http://localhost:8000") -> Address:
    """Read an address.

    Args:
        text: Base URLs, separated by commas, and perhaps ``#model``.
        example: What an error tells to write.

    Raises:
        ConfigurationError: No URL, another scheme than http and https, a key inside the URL, or no
            host; the message says what to write.
    """
    bases, _, model = text.partition("#")
    urls = [_base_url(part.strip(), example) for part in bases.split(",") if part.strip()]
    if not urls:
        raise ConfigurationError(f"no base URL: write for example {example}")
    return Address(tuple(dict.fromkeys(urls)), model.strip() or None)


def _base_url(text: str, example: str) -> str:
    if not _SCHEME.match(text):
        raise ConfigurationError(
            f"{_shown(text)!r} is not a base URL: begin it with http:// or https://, "
            f"for example {example}"
        )
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"{_shown(text)!r} is not a base URL: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise ConfigurationError(
            f"{_shown(text)!r}: only http:// and https:// are spoken, not {parts.scheme}://"
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            "a user or a password in the base URL would be shown wherever the backend is named: "
            "give api_key=… or set LING_AGENT_API_KEY"
        )
    if not parts.hostname or re.search(r"\s", parts.hostname):
        raise ConfigurationError(f"{_shown(text)!r} names no host: write for example {example}")
    if parts.query:
        raise ConfigurationError(f"{_shown(text)!r}: a base URL has no query: leave out '?' and on")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return f"{parts.scheme}://{host}{f':{port}' if port is not None else ''}{path}"


def _shown(text: str) -> str:
    """A text that may hold a password, as far as it can be repeated."""
    return text.rpartition("@")[2] if "@" in text else text


def without_user(text: str) -> str:
    """A text with base URLs, such as a backend string, without who asks and their passwords."""
    return _USER.sub("//", text)
