"""`Connections`: httpx2's transport for one server on asyncio, with a stack of idle connections.

httpx2's own pool looks at every connection for every request, which at 200 runs at once costs more
than the requests. Here the newest idle connection is taken, and the oldest are closed when they
have been idle too long. On trio, and where the environment names a proxy, httpx2's own is used.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import httpx2

from .asyncio_http import Connection, connect


class Connections(httpx2.AsyncBaseTransport):
    """The connections of one event loop to one server.

    Args:
        keep_alive: Seconds for which an idle connection is kept.
    """

    def __init__(self, *, keep_alive: float) -> None:
        self._keep_alive = keep_alive
        self._loop = asyncio.get_running_loop()
        self._idle: deque[Connection] = deque()
        self._tls: ssl.SSLContext | None = None
        self._closed = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        connection = await self._take(request)
        try:
            body = await request.aread()
            method, target = request.method.encode(), request.url.raw_path
            await connection.request(method, target, request.headers.raw, body)
            status, headers = await connection.head()
        except BaseException:
            connection.close()
            raise
        return httpx2.Response(
            status_code=status,
            headers=headers,
            stream=_Body(connection, self),
            extensions={"connection": connection},
        )

    async def aclose(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().close()
        # asyncio closes sockets in a callback.
        with anyio.CancelScope(shield=True):
            await asyncio.sleep(0)

    def give_back(self, connection: Connection) -> None:
        """Keep a connection whose response was read to its end; close any other."""
        if connection.reusable and not self._closed:
            self._idle.append(connection)
        else:
            connection.close()
        while self._idle and not self._is_fresh(self._idle[0]):
            self._idle.popleft().close()

    async def _take(self, request: httpx2.Request) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and self._is_fresh(connection):
                return connection
            connection.close()
        timeouts: dict[str, Any] = request.extensions.get("timeout", {})
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        tls = self._context() if url.scheme == "https" else None
        return await connect(url.host, port, tls=tls, timeout=timeouts.get("connect"))

    def _is_fresh(self, connection: Connection) -> bool:
        return self._loop.time() - connection.idle_since < self._keep_alive

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = httpx2.create_ssl_context()
        return self._tls


class _Body(httpx2.AsyncByteStream):
    """The body of a response; closing it gives the connection back."""

    def __init__(self, connection: Connection, connections: Connections) -> None:
        self._connection = connection
        self._connections = connections
        self._open = True

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        while data := await self._connection.read():
            yield data

    async def aclose(self) -> None:
        if self._open:
            self._open = False
            self._connections.give_back(self._connection)
