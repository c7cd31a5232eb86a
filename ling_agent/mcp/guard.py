"""`KeyGuard`: lets requests through that carry one of the keys."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from .hiding import Given, reveal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_BODY = b'{"error": "give a valid key as Authorization: Bearer ..."}'


def checked_keys(given: Given | Sequence[Given]) -> list[str]:
    """The keys as texts; one that is not in a list is one key, and not one for each letter.

    Raises:
        ConfigurationError: One that nobody can send, or that whoever sends none would have; the
            message does not repeat it.
    """
    several = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    keys = [reveal(key) for key in several]
    for key in keys:
        if not key or " " in key or not (key.isascii() and key.isprintable()):
            raise ConfigurationError(
                "an API key is empty or holds characters that no header can: look at it"
            )
    return keys


class KeyGuard:
    """ASGI middleware that answers 401 to every HTTP request without a valid key."""

    def __init__(self, app: ASGIApp, *, keys: Sequence[str]) -> None:
        self._app = app
        self._digests = [_digest(key.encode()) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        if scope["type"] != "http" or self._admits(scope):
            await self._app(scope, receive, send)
            return
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(_BODY)).encode()),
            (b"www-authenticate", b"Bearer"),
        ]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": _BODY})

    def _admits(self, scope: Scope) -> bool:
        given = dict(scope["headers"]).get(b"authorization", b"")
        scheme, _, key = given.partition(b" ")
        digest = _digest(key.strip())
        # Every key is compared, in the same time: how long it takes tells nothing.
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return scheme.lower() == b"bearer" and any(matches)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
