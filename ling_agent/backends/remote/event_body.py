"""`EventBody`: the body of a response as server-sent events, as many at a time as have arrived."""

from __future__ import annotations

import codecs
import contextlib
from collections.abc import Iterator
from typing import cast

import anyio
import httpx2

MAX_EVENT_BYTES = 8 * 1024 * 1024
"""Longest streamed event; an argument that a server sends whole may be long."""

_EVENT_ENDS = ("\n\n", "\r\n\r\n", "\r\r")
_LONGEST_EVENT_END = 4
_LAST_SECONDS = 1.0


class EventBody:
    """The body of a response, which may be left in the middle.

    Attributes:
        deadline: When reading raises `TimeoutError`. It counts for whole events: a server that
            sends a byte a second is stuck, too.
    """

    def __init__(self, response: httpx2.Response, deadline: float) -> None:
        self.deadline = deadline
        self._response = response
        self._bytes = response.aiter_bytes()
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._blocks = EventBlocks(response)

    async def read(self) -> bytes | None:
        """What has arrived; None at the end."""
        with anyio.CancelScope(deadline=self.deadline) as scope:
            return await anext(self._bytes, None)
        assert scope.cancelled_caught
        raise TimeoutError

    async def events(self) -> list[str] | None:
        """The data of the events that have arrived, at least one; None at the end.

        Bytes that are not UTF-8 are an error: httpx2 would replace them, and a damaged answer would
        be taken for a whole one.
        """
        while (data := await self.read()) is not None:
            if events := self._blocks.take(self._decoder.decode(data)):
                return events
        self._decoder.decode(b"", final=True)
        return None

    async def read_to_the_end(self) -> None:
        """Read what is left, briefly, so that the connection can be used again."""
        self.deadline = anyio.current_time() + _LAST_SECONDS
        with contextlib.suppress(TimeoutError, httpx2.TransportError):
            while await self.read() is not None:
                pass

    async def aclose(self) -> None:
        """Close the response and what reads it.

        httpx2 leaves generators to the garbage collector, of which trio warns. Reading on when the
        connection is closed ends them.
        """
        with anyio.CancelScope(shield=True):
            await self._response.aclose()
            with contextlib.suppress(Exception):
                await self.read_to_the_end()


class EventBlocks:
    """Cuts text into blocks of whole events, for `httpx2.EventSource`, which reads a whole body."""

    def __init__(self, response: httpx2.Response) -> None:
        # What EventSource looks at.
        self.request = response.request
        self.headers = response.headers
        self._pending: list[str] = []
        self._size = 0
        self._tail = ""  # of what is pending: the end of an event may be cut in two
        self._block = ""

    def take(self, text: str) -> list[str]:
        """Take text; the data of the events that are complete with it."""
        joined = self._tail + text
        end = max((joined.rfind(m) + len(m) for m in _EVENT_ENDS if m in joined), default=0)
        end -= len(self._tail)
        if end <= 0:
            self._keep(text)
            return []
        self._block = "".join((*self._pending, text[:end]))
        self._pending, self._size, self._tail = [], 0, ""
        self._keep(text[end:])
        return _plain_events(self._block) or [
            event.data
            for event in httpx2.EventSource(cast("httpx2.Response", self), MAX_EVENT_BYTES)
        ]

    def iter_text(self) -> Iterator[str]:
        yield self._block

    def _keep(self, text: str) -> None:
        self._pending.append(text)
        self._size += len(text)
        self._tail = (self._tail + text)[-_LONGEST_EVENT_END + 1 :]
        if self._size > MAX_EVENT_BYTES:
            raise httpx2.SSEError(f"event exceeded the {MAX_EVENT_BYTES} byte limit")


def _plain_events(block: str) -> list[str] | None:
    """The data of events that are one ``data:`` line each, as all known servers write them.

    The same as EventSource would read, at a fifth of its cost; None leaves other blocks to it.
    """
    lines = block.split("\n\n")
    if lines.pop() or not block.startswith("data: ") or "\r" in block:
        return None
    if block.count("\n") != 2 * len(lines) or not all(line.startswith("data: ") for line in lines):
        return None
    return [line[6:] for line in lines]
