"""`EventWriter`: a stream of server-sent events, begun late and kept alive."""

from __future__ import annotations

import time

import anyio
from starlette.types import Send

from .chunks import KEEPALIVE

_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would hold the events back
)


class EventWriter:
    """Writes to one client.

    The response begins with the first part that is not held: until then a failure can still be
    answered with a status of its own.

    Args:
        send: ASGI's.
        run_id: Told in a header.
        keepalive: Seconds of silence after which a comment is sent, for proxies and clients that
            take a silent connection for a dead one.

    Attributes:
        begun: Whether the response has begun.
        gone: Whether the client has gone; nothing is sent to it any more.
    """

    def __init__(self, send: Send, run_id: str, *, keepalive: float) -> None:
        self._send = send
        self._headers = [*_HEADERS, (b"x-run-id", run_id.encode())]
        self._keepalive = keepalive
        self._held: list[bytes] = []
        self._lock = anyio.Lock(fast_acquire=True)
        self._last = time.monotonic()
        self.begun = False
        self.gone = False

    def hold(self, part: bytes) -> None:
        """Send this with the next part, if nothing was sent yet."""
        self._held.append(part)

    async def write(self, part: bytes, *, last: bool = False) -> None:
        """Send a part; waits for a client that does not keep up."""
        if self._held:
            part = b"".join((*self._held, part))
            self._held.clear()
        if self.gone or not (part or last):
            return
        async with self._lock:
            try:
                if not self.begun:
                    self.begun = True
                    await self._send(
                        {"type": "http.response.start", "status": 200, "headers": self._headers}
                    )
                await self._send(
                    {"type": "http.response.body", "body": part, "more_body": not last}
                )
            except OSError:  # a server's way to say that the client has gone
                self.gone = True
        self._last = time.monotonic()

    async def keep_alive(self) -> None:
        """Write a comment whenever it was silent for long, while the client is there."""
        while not self.gone:
            left = self._last + self._keepalive - time.monotonic()
            if left > 0:
                await anyio.sleep(left)
            elif not self._lock.locked():
                await self.write(KEEPALIVE)
            else:
                await anyio.sleep(self._keepalive)
