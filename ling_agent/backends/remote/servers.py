"""`Servers`: one server or several that serve the same model, and which of them is asked.

A conversation stays on the server that holds its prefix. A new one goes to the server with the
fewest requests in flight. A server that cannot be reached is left alone for a while and asked for
its health before it is used again; its conversations move to another. Requests are only sent again
where nothing can have been generated (`BackendUnavailable.retry`).
"""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import anyio
import anyio.lowlevel

from ...errors import BackendUnavailable
from .facts import ServerFacts
from .transport import Transport

_REMEMBERED = 10_000  # conversations
_DOWN_SECONDS = 5.0
_LONGEST_PAUSE = 8.0
_LONGEST_RETRY_AFTER = 60.0


class Server:
    """One server.

    Attributes:
        transport: How it is asked.
        facts: What is known of it; None before it was asked.
        in_flight: Requests that it is working on for this process.
        down_until: Monotonic time before which it is not used; 0 while it is up.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.facts: ServerFacts | None = None
        self.in_flight = 0
        self.down_until = 0.0
        self._locks: anyio.lowlevel.RunVar[anyio.Lock | None] = anyio.lowlevel.RunVar("facts", None)

    def lock(self) -> anyio.Lock:
        """For asking what it is only once; each event loop has its own."""
        lock = self._locks.get()
        if lock is None:
            lock = anyio.Lock()
            self._locks.set(lock)
        return lock


class Servers:
    """The servers of one backend; used from any thread and event loop.

    Args:
        servers: At least one.
        retries: How often a request is sent again that no server took.
    """

    def __init__(self, servers: Sequence[Server], *, retries: int) -> None:
        self._all = tuple(servers)
        self._retries = retries
        self._homes: OrderedDict[str, Server] = OrderedDict()
        self._turn = 0
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Server]:
        return iter(self._all)

    @asynccontextmanager
    async def ask(
        self,
        conversation: str | None,
        opened: Callable[[Server], AbstractAsyncContextManager[object]],
    ) -> AsyncGenerator[object, None]:
        """Enter ``opened(server)`` with a server that takes the request.

        Args:
            conversation: Whose prefix a server may hold; empty for none; None for a question that
                is no work, and is not counted when work is spread.
            opened: Sends the request on entering and yields what comes.

        Raises:
            BackendError: No server took it; the message is of the last one, and names all.
        """
        async with AsyncExitStack() as stack:
            yield await self._enter(conversation, opened, stack)

    async def _enter(
        self,
        conversation: str | None,
        opened: Callable[[Server], AbstractAsyncContextManager[object]],
        stack: AsyncExitStack,
    ) -> object:
        failed: list[Server] = []
        attempt = 0
        while True:
            server = await self._choose(conversation, failed)
            try:
                entered = await stack.enter_async_context(self._counted(server, opened))
            except BackendUnavailable as error:
                if not error.retry:
                    raise
                self._mark_down(server, error)
                failed.append(server)
                if len(failed) < len(self._all):
                    continue  # another one at once
                if attempt >= self._patience() or (error.retry_after or 0) > _LONGEST_RETRY_AFTER:
                    raise self._all_failed(error) from error
                await anyio.sleep(_pause(attempt, error.retry_after))
                attempt += 1
                failed.clear()
            else:
                self._settle(conversation, server)
                return entered

    def _patience(self) -> int:
        """Retries; none before a server was ever reached: a wrong port should be told at once."""
        return self._retries if any(server.facts for server in self._all) else 0

    @asynccontextmanager
    async def _counted(
        self, server: Server, opened: Callable[[Server], AbstractAsyncContextManager[object]]
    ) -> AsyncGenerator[object, None]:
        with self._lock:
            server.in_flight += 1
        try:
            async with opened(server) as value:
                yield value
        finally:
            with self._lock:
                server.in_flight -= 1

    async def _choose(self, conversation: str | None, failed: list[Server]) -> Server:
        if len(self._all) == 1:
            return self._all[0]
        rest = [server for server in self._all if server not in failed]
        with self._lock:
            home = self._homes.get(conversation) if conversation else None
        order = sorted(rest, key=lambda s: (s is not home, s.in_flight, self._turns(s)))
        for server in order:
            if await self._is_up(server):
                return server
        return order[0]  # all are down: the next one tells why

    def _turns(self, server: Server) -> int:
        return (self._all.index(server) - self._turn) % len(self._all)

    async def _is_up(self, server: Server) -> bool:
        if not server.down_until:
            return True
        if time.monotonic() < server.down_until:
            return False
        if await server.transport.healthy():
            server.down_until = 0.0
            return True
        server.down_until = time.monotonic() + _DOWN_SECONDS
        return False

    def _mark_down(self, server: Server, error: BackendUnavailable) -> None:
        wait = _DOWN_SECONDS if error.retry_after is None else error.retry_after
        server.down_until = time.monotonic() + min(wait, _LONGEST_RETRY_AFTER)

    def _settle(self, conversation: str | None, server: Server) -> None:
        server.down_until = 0.0
        if conversation is None:
            return
        with self._lock:
            # Not at each step: runs of two steps would all begin on the same of two servers.
            self._turn += self._homes.get(conversation) is not server
            if conversation and len(self._all) > 1:
                self._homes[conversation] = server
                self._homes.move_to_end(conversation)
                if len(self._homes) > _REMEMBERED:
                    self._homes.popitem(last=False)

    def _all_failed(self, error: BackendUnavailable) -> BackendUnavailable:
        if len(self._all) == 1:
            return error
        return BackendUnavailable(
            f"none of {len(self._all)} servers takes the request; the last one: {error}",
            retry=True,
            retry_after=error.retry_after,
        )


def _pause(attempt: int, after: float | None) -> float:
    """Seconds until the next attempt: what the server wants, or longer each time, with jitter."""
    wanted = min(0.5 * 2**attempt, _LONGEST_PAUSE)
    jitter = random.uniform(0.5, 1.0)
    return after + 0.5 * jitter if after is not None else wanted * jitter
