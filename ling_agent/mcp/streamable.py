"""A server that is reached over streamable HTTP."""

from __future__ import annotations

import http
import json
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx2

from ..errors import BackendUnavailable, ConfigurationError, LingAgentError
from .hiding import Given, Hider, reveal

if TYPE_CHECKING:
    from mcp import MCPError

    from .endpoint import Fate, Streams

# JSON-RPC codes, of the range for implementations, for what HTTP itself has answered.
_STATUS = -32050
_UNREACHABLE = -32051
_SESSION_LOST = -32052
_BROKEN = -32053
_SESSION = "mcp-session-id"
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


@dataclass(frozen=True)
class HttpEndpoint:
    """A URL, and the headers of every request to it."""

    label: str
    hider: Hider
    url: str
    headers: Mapping[str, Given]

    def link(self, lost: Callable[[], None], timeout: float) -> HttpLink:
        """One session with the server."""
        return HttpLink(self, lost, timeout)


def url_label(url: str) -> str:
    """Host, port and path; never the user's name, a password or the query.

    Raises:
        ConfigurationError: It is not an HTTP URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError("an MCP server's URL begins with http:// or https:// and a host")
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.hostname}{port}{parts.path}"


def check_headers(headers: Mapping[str, Given]) -> None:
    """Refuse here what the HTTP client would refuse, which logs the value.

    Raises:
        ConfigurationError: No header can be so; the message does not repeat the value.
    """
    for name, value in headers.items():
        text = reveal(value)
        if not (_HEADER.fullmatch(name) and text.isascii() and text.isprintable()):
            raise ConfigurationError(
                f"headers: {name!r} has a line break, or a character that no header can hold, in "
                "its name or its value"
            )
        if text != text.strip():
            raise ConfigurationError(f"headers: {name!r} has white space around its value")


class HttpLink:
    """One session, with its own HTTP client."""

    def __init__(self, endpoint: HttpEndpoint, lost: Callable[[], None], timeout: float) -> None:
        self._endpoint = endpoint
        self._lost = lost
        self._timeout = timeout

    @asynccontextmanager
    async def streams(self) -> AsyncGenerator[Streams, None]:
        """Open the transport; leaving it ends the session on the server."""
        from mcp.client.streamable_http import streamable_http_client

        headers = {name: reveal(value) for name, value in self._endpoint.headers.items()}
        # A call's own timeout bounds how long a server may be silent.
        timeout = httpx2.Timeout(self._timeout, read=None)
        async with (
            _Client(self, headers=headers, timeout=timeout) as client,
            streamable_http_client(self._endpoint.url, http_client=client) as streams,
        ):
            yield streams

    def heard(self, error: Exception) -> None:
        """An event that is not JSON-RPC; the request that it answers is told by the SDK."""

    def fate(self, error: MCPError) -> Fate:
        """Unsent: no connection could be made, or the session was gone when the request came."""
        from mcp_types import CONNECTION_CLOSED

        if error.code in (_UNREACHABLE, _SESSION_LOST):
            return "unsent"
        return "interrupted" if error.code in (_BROKEN, CONNECTION_CLOSED) else "answered"

    def session_lost(self) -> None:
        """The server does not know the session (any more)."""
        self._lost()

    def reason(self, error: BaseException | None) -> LingAgentError:
        """From the error that the SDK or this link's client has made."""
        from mcp import MCPError

        label = f"MCP server '{self._endpoint.label}'"
        if error is None:
            return BackendUnavailable(
                f"{label} did not answer within {self._timeout:g} s (connect_timeout)", retry=True
            )
        if not isinstance(error, MCPError):
            return BackendUnavailable(
                f"{label} broke the connection off: {self._line(error)}", retry=True
            )
        if error.code == _STATUS:
            return _refusal(label, int(error.data))
        if error.code in (_UNREACHABLE, _BROKEN, _SESSION_LOST):
            return BackendUnavailable(f"{label} {self._line(error)}", retry=True)
        return ConfigurationError(
            f"{label} is not the endpoint of an MCP server, often /mcp: {self._line(error)}"
        )

    def _line(self, error: BaseException) -> str:
        return self._endpoint.hider.line(str(error) or type(error).__name__)


def _refusal(label: str, status: int) -> LingAgentError:
    shown = f"{label} answers HTTP {_phrase(status)}"
    if status in (401, 403):
        return ConfigurationError(f"{shown}: give it a valid key in headers=…")
    if status in (404, 405):
        return ConfigurationError(f"{shown}: the URL is not that of its MCP endpoint, often /mcp")
    if status >= 500 or status == 429:
        return BackendUnavailable(f"{shown}: it is not ready; try again later", retry=True)
    return ConfigurationError(f"{shown}: this is not the endpoint of an MCP server, often /mcp")


class _Client(httpx2.AsyncClient):
    """Answers for the network, so that one failed request does not end its siblings.

    The SDK's transport is over when a request raises, and it does not tell the status of a refusal;
    both become JSON-RPC errors of the one request here.
    """

    def __init__(self, link: HttpLink, **options: Any) -> None:
        super().__init__(**options)
        self._link = link

    async def send(
        self, request: httpx2.Request, *, stream: bool = False, **options: Any
    ) -> httpx2.Response:
        try:
            response = await super().send(request, stream=stream, **options)
        except httpx2.TransportError as error:
            return self._unreachable(request, error)
        if response.status_code < 400 or request.method == "GET":
            return response
        if request.method == "DELETE":
            await response.aclose()
            return _no_farewell(request)
        return await self._refused(request, response)

    def _unreachable(
        self, request: httpx2.Request, error: httpx2.TransportError
    ) -> httpx2.Response:
        if request.method == "DELETE":
            return _no_farewell(request)
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
            return _answer(request, 503, _UNREACHABLE, "cannot be reached: " + _network(error))
        return _answer(request, 503, _BROKEN, "broke the connection off: " + _network(error))

    async def _refused(self, request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        status = response.status_code
        try:
            body = await response.aread()
        except httpx2.TransportError:
            body = b""
        finally:
            await response.aclose()
        if status == 404 and _SESSION in request.headers:
            self._link.session_lost()
            return _answer(request, status, _SESSION_LOST, "has forgotten the session")
        if _is_rpc_error(body) and status not in (401, 403):
            return response
        return _answer(request, status, _STATUS, f"answers HTTP {_phrase(status)}", status)


def _no_farewell(request: httpx2.Request) -> httpx2.Response:
    """What a server answers that knows no end of a session: nothing that anybody has to be told."""
    return httpx2.Response(405, request=request)


def _answer(
    request: httpx2.Request, status: int, code: int, message: str, data: object = None
) -> httpx2.Response:
    error = {"code": code, "message": message, "data": data}
    body = {"jsonrpc": "2.0", "id": None, "error": error}
    return httpx2.Response(status, json=body, request=request)


def _is_rpc_error(body: bytes) -> bool:
    try:
        value = json.loads(body)
    except ValueError:
        return False
    return isinstance(value, dict) and "jsonrpc" in value and "error" in value


def _phrase(status: int) -> str:
    try:
        return f"{status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _network(error: httpx2.TransportError) -> str:
    return str(error).strip() or type(error).__name__
