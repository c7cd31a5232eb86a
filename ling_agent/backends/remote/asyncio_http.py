"""`Connection`: HTTP/1.1 on an asyncio transport, whose reader wakes only so often.

A model sends a token at a time, and each is a packet of its own. Waking a task for each, and taking
each through the layers of an HTTP client, costs more CPU than everything that is then done with it.
So a body is parsed (by httptools, which is uvicorn's parser) and collected where it arrives, and
the reader wakes for its beginning, for its end, and otherwise at most once in ``pace`` seconds.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

import anyio
import httptools
import httpx2

Headers = list[tuple[bytes, bytes]]

_ENOUGH = 64 * 1024  # bytes that wake the reader whatever the pace
_TOO_MUCH = 512 * 1024  # bytes at which the server is made to wait
_LONGEST_HEAD = 256 * 1024
_LARGE = 64 * 1024  # bytes of a body that are not copied to save a packet
_MUCH = 16 * 1024  # bytes at once: not the tokens of a model

# Packets that follow each other as fast as this are left to the kernel for as long as that: waking
# the loop for each would cost more than all that is done with them.
_RAPID, _REST = 0.005, 0.02  # seconds


class Connection(asyncio.Protocol):
    """One connection; one request at a time.

    Attributes:
        pace: Seconds between two wake-ups of the reader; 0 wakes it for all data.
        idle_since: When its last response had ended, by the loop's clock.
    """

    def __init__(self) -> None:
        self.pace = 0.0
        self.idle_since = 0.0
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._writable = asyncio.Event()
        self._writable.set()
        self._waiting: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._resting: asyncio.TimerHandle | None = None
        self._woken = 0.0
        self._received = 0.0
        self._closed = False
        self._error: Exception | None = None
        self._expecting = False  # a response
        self._reset()

    def _reset(self) -> None:
        self._headers: Headers = []
        self._head_size = 0
        self._status = 0
        self._body = bytearray()
        self._done = False

    @property
    def reusable(self) -> bool:
        """Whether the last response was read to its end and the server keeps the connection."""
        return self._done and not self._body and not self._closed and self._error is None

    async def request(self, method: bytes, target: bytes, headers: Headers, body: bytes) -> None:
        """Send a request; `head` and `read` have its response.

        Raises:
            httpx2.TransportError: The connection is closed.
        """
        self._reset()
        self._expecting = True
        self.pace = 0.0
        lines = [b"%b %b HTTP/1.1" % (method, target)]
        lines += [b"%b: %b" % header for header in headers]
        if self._transport is None or self._closed:
            raise httpx2.WriteError("the server has closed the connection")
        head = b"\r\n".join((*lines, b"", b""))
        if len(body) < _LARGE:
            self._transport.write(head + body)  # one packet
        else:
            self._transport.write(head)
            self._transport.write(body)
        await self._writable.wait()

    async def head(self) -> tuple[int, Headers]:
        """Status and headers of the response.

        Raises:
            httpx2.TransportError: It does not come, or is no HTTP.
        """
        while not self._status:
            if self._error is not None or self._closed:
                raise self._failure("the server disconnected without sending a response")
            await self._wait()
        return self._status, self._headers

    async def read(self) -> bytes:
        """What has arrived of the body; empty at its end.

        Raises:
            httpx2.TransportError: The connection is lost before the end.
        """
        while not self._body and not self._done:
            if self._error is not None or self._closed:
                if self._error is None and not self._has_length():
                    self._done = True  # a body that the end of the connection ends
                    break
                raise self._failure("the server closed the connection before the answer had ended")
            await self._wait()
        data = bytes(self._body)
        self._body.clear()
        if self._resting is None:
            self._go_on()
        return data

    def close(self) -> None:
        """Close the connection; what was not read is lost."""
        self._closed = True
        for timer in (self._timer, self._resting):
            if timer is not None:
                timer.cancel()
        if self._transport is not None:
            self._transport.close()

    # -- asyncio.Protocol ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            reason = str(error.__context__ or error)
            self._error = httpx2.RemoteProtocolError(f"no HTTP: {reason}")
            self.close()
            self._wake()
            return
        now = self._loop.time()
        rapid = now - self._received < _RAPID
        self._received = now
        if len(self._body) > _TOO_MUCH and self._transport is not None:
            self._transport.pause_reading()
        elif rapid and self.pace and len(data) < _MUCH and not self._done:
            self._rest()
        if self._waiting is None or not (self._status or self._done):
            return
        due = self._woken + self.pace
        if self._done or len(self._body) > _ENOUGH or now >= due:
            self._wake()
        elif self._timer is None:
            self._timer = self._loop.call_at(due, self._wake)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        if exc is not None and self._error is None:
            self._error = httpx2.ReadError(str(exc))
        self._writable.set()
        self._wake()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # -- httptools.HttpResponseParser ---------------------------------------------------------

    def on_message_begin(self) -> None:
        if not self._expecting:
            raise ValueError("a response without a request")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))
        self._head_size += len(name) + len(value)
        if self._head_size > _LONGEST_HEAD:
            raise ValueError(f"the headers are longer than {_LONGEST_HEAD} bytes")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._headers = []
        else:
            self._status = status

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if not self._status:
            return  # of an interim response
        self._done = True
        self._expecting = False
        self.idle_since = self._loop.time()
        if not self._parser.should_keep_alive():
            self.close()

    # -----------------------------------------------------------------------------------------

    def _rest(self) -> None:
        """Leave what comes to the kernel for a moment."""
        if self._resting is None and self._transport is not None:
            self._transport.pause_reading()
            self._resting = self._loop.call_later(_REST, self._go_on)

    def _go_on(self) -> None:
        if self._resting is not None:
            self._resting = None
            self._received = self._loop.time()  # what is there already has followed rapidly
        if self._transport is not None and not self._closed:
            self._transport.resume_reading()

    def _has_length(self) -> bool:
        names = {name.lower() for name, _ in self._headers}
        return bool(names & {b"content-length", b"transfer-encoding"})

    def _failure(self, text: str) -> Exception:
        return self._error or httpx2.RemoteProtocolError(text)

    async def _wait(self) -> None:
        self._waiting = self._loop.create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None

    def _wake(self) -> None:
        self._woken = self._loop.time()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


async def connect(
    host: str, port: int, *, tls: ssl.SSLContext | None, timeout: float | None
) -> Connection:
    """Open a connection.

    Raises:
        httpx2.ConnectTimeout: It takes too long.
        httpx2.ConnectError: It is refused, or TLS fails.
    """
    loop = asyncio.get_running_loop()
    try:
        with anyio.fail_after(timeout):
            _, connection = await loop.create_connection(
                Connection, host, port, ssl=tls, happy_eyeballs_delay=0.25
            )
    except TimeoutError as error:
        raise httpx2.ConnectTimeout(str(error)) from error
    except OSError as error:
        raise httpx2.ConnectError(str(error)) from error
    return connection
