"""`Journal`: one run's trajectory together with its store, used off the event loop."""

from __future__ import annotations

import functools
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
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

    @property
    def behind(self) -> bool:
        """Whether the store lacks something."""
        return self._kept < len(self.trajectory)

    async def flush(self, status: str | None = None) -> None:
        """Write what is new; it is safe when this returns. A cancellation waits for it.

        Args:
            status: How the run stands, where that changes.

        Raises:
            StoreError: It cannot be written; the next flush tries again.
        """
        if not self._store.blocking:  # no wait, so nothing can come between
            if self._is_due(status):
                self._append(status)
            return
        with anyio.CancelScope(shield=True):
            async with self._lock:
                if self._is_due(status):
                    await in_thread(lambda: self._append(status))

    def _is_due(self, status: str | None) -> bool:
        return status is not None or self._kept < len(self.trajectory)

    def _append(self, status: str | None) -> None:
        """Write what is new, and keep track of that here: a flush that is cancelled cannot."""
        entries = self.trajectory.since(self._kept)
        try:
            self._store.append(self.run_id, entries, status=status)
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
        # In a thread also where no disk is waited for: large texts are indexed when they are first
        # searched.
        return await in_thread(
            functools.partial(self._store.search, self.run_id, query, limit=limit)
        )


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
    taking = _Taking(store.claim(run_id))
    try:
        await off_loop(store, taking.take)
        yield
    finally:
        if taking.give_up():
            with anyio.CancelScope(shield=True):
                await off_loop(store, taking.give_back)


class _Taking:
    """A claim that a thread takes for a task; when that has gone, the thread gives it back."""

    def __init__(self, claim: AbstractContextManager[None]) -> None:
        self._claim = claim
        self._lock = threading.Lock()
        self._taken = self._given_up = False

    def take(self) -> None:
        self._claim.__enter__()
        with self._lock:
            self._taken = True
            late = self._given_up
        if late:
            self.give_back()

    def give_up(self) -> bool:
        """Want it no more; whether it has to be given back."""
        with self._lock:
            self._given_up = True
            return self._taken

    def give_back(self) -> None:
        self._claim.__exit__(None, None, None)


async def off_loop(store: Store, work: Callable[[], T]) -> T:
    """Use a store without keeping the event loop waiting; a cancellation waits for it."""
    return await in_thread(work) if store.blocking else work()


async def in_thread(work: Callable[[], T]) -> T:
    """Do something in a thread; it has ended when this returns or raises.

    A shielded scope alone would not do: asyncio's own ``Task.cancel`` knows none. A task group
    waits for its tasks whatever cancels it.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def keep() -> None:
        try:
            results.append(work())
        except BaseException as error:  # which the group would put into a group
            errors.append(error)

    async def run() -> None:
        # A limiter of its own: tools may have taken all the threads of anyio's.
        await anyio.to_thread.run_sync(keep, limiter=anyio.CapacityLimiter(1))

    async with anyio.create_task_group() as group:
        group.start_soon(run)
    if errors:
        raise errors.pop()
    return results.pop()
