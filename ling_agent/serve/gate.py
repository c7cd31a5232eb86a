"""`Gate`: what every request passes: the access log, the host and the key."""

from __future__ import annotations

import logging
import time
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .refusals import OUR_FAULT, RefusedError
from .settings import Settings

_log = logging.getLogger("ling_agent.serve")
_access = logging.getLogger("ling_agent.serve.access")

NOTES = "ling_agent.serve.notes"
"""Key of the scope under which endpoints note what the access log tells besides."""


class AccessLog:
    """Writes a line a request; its parts are attributes of the log record, too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        notes: dict[str, Any] = {}
        scope[NOTES] = notes
        started = time.perf_counter()
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:
            _log.error("%s: %s", _path(scope), type(error).__name__, exc_info=error)
            if not status:
                await respond(
                    RefusedError(500, OUR_FAULT, code="server_error"), scope, receive, sending
                )
        finally:
            self._tell(scope, status, time.perf_counter() - started, notes)

    def _tell(self, scope: Scope, status: int, seconds: float, notes: dict[str, Any]) -> None:
        client = scope.get("client")
        parts: dict[str, Any] = {
            "client": client[0] if client else "-",
            "method": scope["method"],
            "path": _path(scope),
            "status": status or None,
            "seconds": round(seconds, 4),
            **notes,
        }
        line = " ".join(f"{name}={value}" for name, value in parts.items())
        _access.info("%s", line, extra={"http": parts})


class Gate:
    """Refuses hosts that are not served, and requests without a key."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._keys = settings.keys
        self._hosts = settings.allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refused := self._refused(scope)) is not None:
            await respond(refused, scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refused(self, scope: Scope) -> RefusedError | None:
        headers = Headers(scope=scope)
        if self._hosts and _host(headers.get("host", "")) not in self._hosts:
            return RefusedError(
                421,
                "this host name is not served here: use localhost, or let the server take it "
                "(by API keys, or allowed_hosts)",
                code="wrong_host",
            )
        open_to_all = _route_path(scope) == "/health" and not scope.get("query_string")
        if not self._keys or open_to_all:
            return None
        if self._keys.accept(headers.get("authorization", "").encode("latin-1")):
            return None
        return RefusedError(
            401,
            "send an API key that is known here: Authorization: Bearer KEY",
            code="invalid_api_key",
        )


async def respond(refused: RefusedError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request with an error."""
    response = JSONResponse(refused.body(), refused.status, refused.headers())
    await response(scope, receive, send)


def _host(header: str) -> str:
    """A ``Host`` without its port."""
    name, _, port = header.rpartition(":")
    return (name if name and port.isdecimal() else header).lower()


def _path(scope: Scope) -> str:
    """For the log: without a query, in which there may be anything, and on one line."""
    return ascii(scope["path"])[1:-1]


def _route_path(scope: Scope) -> str:
    root: str = scope.get("root_path", "")
    return scope["path"].removeprefix(root)
