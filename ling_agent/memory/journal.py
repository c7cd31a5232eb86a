"""`Journal`: one run's trajectory together with its store, used off the event loop."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
import anyio.to_thread

from ..errors import StoreError
from .search import Hit
from .store import Store
from .trajectory import Trajectory

T = TypeVar("T")


class Journal:
    """A run's log and how much of it is kept already.

    Args:
        store: Where it is kept.
        run_id: Under which name.
        trajectory: The log; whoever works on the run appends to it.
        kept: How many of its entries the store has.
        unsaved: Logs that could not be written, by run id, for a later try in this process.

    Attributes:
        trajectory: The log.
        run_id: Name of the run.
        forgotten: Whether nothing of the run is worth keeping; it can be deleted.
    """

    def __init__(
        self,
        store: Store,
        run_id: str,
        trajectory: Trajectory,
        kept: int,
        unsaved: dict[str, Trajectory],
    ) -> None:
        self._store = store
        self._kept = kept
        self._unsaved = unsaved
        self._lock = anyio.Lock()
        self.trajectory = trajectory
        self.run_id = run_id
        self._at_start = len(trajectory)
        self.forgotten = False

    async def flush(self, status: str | None = None) -> None:
        """Write what is new; it is safe when this returns. A cancellation waits for it.

        Args:
            status: How the run stands, where that changes.

        Raises:
            StoreError: It cannot be written; the next flush tries again.
        """
        with anyio.CancelScope(shield=True):
            async with self._lock:
                entries = self.trajectory.since(self._kept)
                if not entries and status is None:
                    return
                append = functools.partial(self._store.append, self.run_id, entries, status=status)
                try:
                    await off_loop(self._store, append)
                except StoreError:
                    self._unsaved[self.run_id] = self.trajectory
                    raise
                self._kept += len(entries)
                self._unsaved.pop(self.run_id, None)

    async def withdraw(self) -> None:
        """Undo that the run began: a session's conversation is as it was before.

        Raises:
            StoreError: The store cannot be written.
        """
        with anyio.CancelScope(shield=True):
            if self._kept <= self._at_start:
                self._forget()
                return
            self.trajectory.append(
                "withdrawal", step=self.trajectory.last_step, since=self._at_start
            )
            await self.flush("failed")
            self.forgotten = not self._at_start

    def _forget(self) -> None:
        """Nothing of what began is kept: leave what an earlier run could not write, if anything."""
        if self._unsaved.pop(self.run_id, None) is not None and self._kept < self._at_start:
            self._unsaved[self.run_id] = self.trajectory.fork(self._at_start)

    async def search(self, query: str, limit: int) -> list[Hit]:
        """Places in the run's texts that match; see `Store.search`.

        Raises:
            StoreError: The store cannot be read or written.
        """
        await self.flush()
        search = functools.partial(self._store.search, self.run_id, query, limit=limit)
        return await off_loop(self._store, search)


async def open_journal(
    store: Store, run_id: str, unsaved: dict[str, Trajectory], *, known: bool
) -> Journal:
    """The journal of a run, with what an earlier try could not write.

    Args:
        store: Where runs are kept.
        run_id: Name of the run.
        unsaved: See `Journal`.
        known: Whether it must be kept; otherwise one that is not begins anew.

    Raises:
        StoreError: It is not kept, or cannot be read.
    """

    def load() -> Trajectory:
        return store.load(run_id) if known or run_id in store else Trajectory()

    left = unsaved.get(run_id)
    try:
        trajectory = await off_loop(store, load)
    except StoreError:
        if left is None or await off_loop(store, lambda: run_id in store):
            raise
        trajectory = Trajectory()  # of that run nothing could be written at all
    if left is not None and list(left)[: len(trajectory)] == list(trajectory):
        return Journal(store, run_id, left.fork(), len(trajectory), unsaved)
    return Journal(store, run_id, trajectory, len(trajectory), unsaved)


@asynccontextmanager
async def claimed(store: Store, run_id: str) -> AsyncGenerator[None, None]:
    """Have a run to oneself; see `Store.claim`."""
    claim = store.claim(run_id)
    await off_loop(store, claim.__enter__)
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await off_loop(store, functools.partial(claim.__exit__, None, None, None))


async def off_loop(store: Store, work: Callable[[], T]) -> T:
    """Use a store without keeping the event loop waiting."""
    if not store.blocking:
        return work()
    # A limiter of its own: tools may have taken all the threads of anyio's.
    return await anyio.to_thread.run_sync(work, limiter=anyio.CapacityLimiter(1))
