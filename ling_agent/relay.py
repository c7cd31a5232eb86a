"""`Relay`: the events of tools on their way to the reader, through one queue.

Tools send events with a plain call and do not wait for the reader; the run does, at the end of each
step. So a slow reader loses nothing, and nothing overtakes.
"""

from __future__ import annotations

import contextlib
import math

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from .events import Emit, Event


class Relay:
    """Hands events over in the order in which they were sent.

    Args:
        emit: Takes them.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._stack = contextlib.ExitStack()
        self._send: MemoryObjectSendStream[Event | anyio.Event] | None = None
        self._receive: MemoryObjectReceiveStream[Event | anyio.Event] | None = None

    def __enter__(self) -> Relay:
        # Events, and marks that are set when those before them are with the reader.
        send, receive = anyio.create_memory_object_stream[Event | anyio.Event](math.inf)
        self._send = self._stack.enter_context(send)
        self._receive = self._stack.enter_context(receive)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    async def forward(self) -> None:
        """Hand over what comes, until it is closed; run it in a task."""
        assert self._receive is not None
        async for event in self._receive:
            if isinstance(event, anyio.Event):
                event.set()
            else:
                await self._emit(event)

    def send(self, event: Event) -> None:
        """Take an event; dropped when the run has ended."""
        self._put(event)

    async def told(self, *events: Event) -> None:
        """Send events, and wait until they and those before them are with the reader."""
        mark = anyio.Event()
        if all(self._put(event) for event in (*events, mark)):
            await mark.wait()

    def _put(self, event: Event | anyio.Event) -> bool:
        if self._send is None:
            return False
        try:
            self._send.send_nowait(event)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            return False
        return True

    def close(self) -> None:
        """Take no more; `forward` ends when the rest is handed over."""
        if self._send is not None:
            self._send.close()
