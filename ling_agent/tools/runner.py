"""`CallRunner`: starts calls one after the other as they come, and runs them side by side."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio
from anyio import CapacityLimiter
from anyio.abc import TaskGroup


class CallRunner:
    """Runs calls in tasks of a group, at most so many at a time.

    An exclusive call waits for the calls before it, runs alone, and the calls after it wait for it.

    Args:
        group: Whose tasks they are; it may have others.
        max_parallel: Most calls at one time.
    """

    def __init__(self, group: TaskGroup, *, max_parallel: int) -> None:
        self._group = group
        self._limiter = CapacityLimiter(max_parallel)
        self._open: dict[anyio.Event, None] = {}  # of the calls that have not ended, in order
        self._barrier: anyio.Event | None = None  # of the newest exclusive one

    def start(
        self,
        work: Callable[[], Awaitable[None]],
        *,
        exclusive: bool = False,
        ready: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """Run a call as soon as it is its turn.

        Args:
            work: The call.
            exclusive: Whether nothing else may run beside it.
            ready: Awaited before its turn, without keeping others from theirs unless it is
                exclusive; False leaves the call out.
        """
        waits = tuple(self._open) if exclusive else self._behind_barrier()
        ended = anyio.Event()
        self._open[ended] = None
        if exclusive:
            self._barrier = ended
        self._group.start_soon(self._run, work, ready, waits, ended)

    def _behind_barrier(self) -> tuple[anyio.Event, ...]:
        if self._barrier is None or self._barrier.is_set():
            return ()
        return (self._barrier,)

    async def _run(
        self,
        work: Callable[[], Awaitable[None]],
        ready: Callable[[], Awaitable[bool]] | None,
        waits: Sequence[anyio.Event],
        ended: anyio.Event,
    ) -> None:
        try:
            if ready is not None and not await ready():
                return
            for event in waits:
                await event.wait()
            async with self._limiter:
                await work()
        finally:
            del self._open[ended]
            ended.set()

    async def idle(self) -> None:
        """Wait until no call runs or waits for its turn."""
        while self._open:
            await next(iter(self._open)).wait()
