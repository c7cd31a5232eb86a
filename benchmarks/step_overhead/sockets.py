"""The least that a client in Python can pay: one asyncio socket, and the loop over bare JSON.

It reads just what the scripted server writes and is no HTTP client: it is here to tell how much of
a step is the machine's, the event loop's and `json`'s own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from .clients import ByHand

_END = b"0\r\n\r\n"


class Sockets(ByHand):
    """A connection for each request at a time, kept for the next one."""

    def __init__(self, url: str) -> None:
        self._port = urlsplit(url).port or 80
        self._idle: list[_Connection] = []

    async def answer(self, body: bytes) -> dict[str, Any]:
        connection = await self._send(body)
        data = bytearray()
        while not data.endswith(b"}"):  # the server writes an answer at once: one turn mostly
            data += await connection.read()
        self._idle.append(connection)
        return json.loads(data.partition(b"\r\n\r\n")[2])

    async def chunks(self, body: bytes) -> AsyncIterator[dict[str, Any]]:
        connection = await self._send(body)
        rest = b""
        while rest != b"\r\n" + _END:
            *events, rest = (rest + await connection.read()).split(b"\n\n")
            for event in events:
                data = event.partition(b"data: ")[2]
                if data != b"[DONE]":
                    yield json.loads(data)
        self._idle.append(connection)

    async def aclose(self) -> None:
        for connection in self._idle:
            connection.close()
        await asyncio.sleep(0)  # for the transports to close their sockets

    async def _send(self, body: bytes) -> _Connection:
        if self._idle:
            connection = self._idle.pop()
        else:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(_Connection, "127.0.0.1", self._port)
        connection.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        return connection


class _Connection(asyncio.Protocol):
    """What has arrived, for one reader."""

    def __init__(self) -> None:
        self._data = b""
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(exc or ConnectionResetError("the server is gone"))

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def send(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    async def read(self) -> bytes:
        if not self._data:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        data, self._data = self._data, b""
        return data
