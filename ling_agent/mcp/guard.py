"""`KeyGuard`: lets requests through that carry one of the keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..api_keys import Keys

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_BODY = b'{"error": "give a valid key as Authorization: Bearer ..."}'


class KeyGuard:
    """ASGI middleware that answers 401 to every HTTP request without a valid key."""

    def __init__(self, app: ASGIApp, *, keys: Keys) -> None:
        self._app = app
        self._keys = keys

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
        return self._keys.accept(dict(scope["headers"]).get(b"authorization", b""))
