"""`Delivery`: pieces of an answer on their way from the engine's thread to an event loop.

The engine never waits for the loop: it appends to a queue and asks for a wake-up only when none is
pending. What queues up while the reader is busy reaches it as one piece.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType

import anyio
import anyio.lowlevel

from ..base import Chunk, Finished, TextChunk


class Delivery:
    """A queue with one end in the engine's thread and one in the event loop that made it.

    ::

        with Delivery() as delivery:       # in the event loop; leaving the block cancels
            engine.ask(..., delivery)      # whose thread calls `put`
            async for chunk in delivery:
                ...

    The iterator ends after `Finished` and after an exception that was delivered. A reader whose
    wait is cancelled has lost nothing: it may go on reading, or leave the block.

    Attributes:
        cancelled: Set when nobody reads any more: the engine need not go on.

    Raises:
        RuntimeError: Neither asyncio nor trio runs in this thread.
    """

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self._call_soon, self._loop_is_closed = _current_loop()
        # Reentrant: a reader that is garbage may be collected, and thereby closed, inside of `put`.
        self._lock = threading.RLock()
        self._waiting: deque[Chunk | BaseException] = deque()
        self._wake_up_pending = False
        self._woken = anyio.Event()  # touched in the event loop only
        self._ended = False

    def put(self, item: Chunk | BaseException) -> None:
        """Send a piece, or an exception that the reader is to raise; called in any thread.

        It returns at once and raises nothing. What comes after `cancelled` is dropped.
        """
        with self._lock:
            if self.cancelled.is_set():
                return
            self._waiting.append(item)
            # asyncio forgets its callbacks when it closes, so a pending one proves nothing then;
            # trio runs all of them before it ends.
            if self._wake_up_pending and not self._loop_is_closed():
                return
            self._wake_up_pending = True
        try:
            self._call_soon(self._wake_up)
        except Exception:  # RuntimeError from both; whatever it is, it must not end the engine
            self._abandon()

    def close(self) -> None:
        """The reader leaves: what is queued is dropped; called in the event loop, again at will."""
        self._ended = True
        self._abandon()
        self._woken.set()

    def __enter__(self) -> Delivery:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __aiter__(self) -> Delivery:
        return self

    async def __anext__(self) -> Chunk:
        if not self._ended:
            # Lets the loop turn, and a cancel through, however fast the engine is.
            await anyio.lowlevel.checkpoint()
        while not self._waiting and not self._ended:
            # A wake-up cannot come between these two lines: it is a callback of this very loop.
            self._woken = anyio.Event()
            await self._woken.wait()
        if self._ended:
            raise StopAsyncIteration
        item = self._take()
        if isinstance(item, BaseException):
            self._ended = True
            try:
                raise item
            finally:
                del item  # whose traceback refers to this frame
        self._ended = isinstance(item, Finished)
        return item

    def _take(self) -> Chunk | BaseException:
        """The oldest item; texts at the head of the queue are taken together."""
        with self._lock:
            item = self._waiting.popleft()
            if not isinstance(item, TextChunk):
                return item
            texts = [item.text]
            while self._waiting and isinstance(following := self._waiting[0], TextChunk):
                texts.append(following.text)
                self._waiting.popleft()
        return item if len(texts) == 1 else TextChunk("".join(texts))

    def _wake_up(self) -> None:
        with self._lock:
            self._wake_up_pending = False
        self._woken.set()

    def _abandon(self) -> None:
        with self._lock:
            self.cancelled.set()
            self._waiting.clear()


def _current_loop() -> tuple[Callable[[Callable[[], None]], object], Callable[[], bool]]:
    """How to call something in the loop that runs here, and whether it takes no more calls.

    Both for any thread. The first raises RuntimeError when the loop has ended.
    """
    # trio first: in its guest mode an asyncio loop runs underneath. Not imported unless it is.
    if "trio" in sys.modules:
        import trio

        try:
            token = trio.lowlevel.current_trio_token()
        except RuntimeError:
            pass
        else:
            return token.run_sync_soon, lambda: False  # the call itself fails when it has ended
    loop = asyncio.get_running_loop()
    return loop.call_soon_threadsafe, loop.is_closed
