"""`Store`: where trajectories are kept, and the store of this process.

A store holds runs by name, each a log of entries that only grows. It is plain, blocking code that
is safe to call from any thread: agents call it from a thread of its own, so that an event loop
never waits for a disk. `ling_agent.testing.conformance.StoreConformance` has the checks that a
store of your own must pass.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from ..errors import StoreError
from .claims import LocalClaims
from .search import Hit
from .trajectory import Entry, Trajectory


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a store says about a run or session without loading it.

    Attributes:
        run_id: Its name.
        task: Beginning of its newest task, at most 200 characters; empty when it has none.
        status: A `RunStatus`, ``running``, or ``interrupted`` when it was running and nobody has
            it any more: `Agent.resume` goes on with it.
        entries: Length of its log, entries of the run that it was forked from included.
        steps: Model requests.
        created: Seconds since the epoch.
        updated: The same, of its newest entry; never before ``created``.
        forked_from: Name of the run that it was forked from; None for others.
    """

    run_id: str
    task: str
    status: str
    entries: int
    steps: int
    created: float
    updated: float
    forked_from: str | None = None


class Store(Protocol):
    """Keeps trajectories by run id; safe to call from any thread."""

    @property
    def blocking(self) -> bool:
        """Whether its methods may wait, for a disk or a network: agents then use a thread."""
        ...

    def append(self, run_id: str, entries: Sequence[Entry], *, status: str | None = None) -> None:
        """Keep further entries of a run, all or none of them; they are safe when it returns.

        A run that is not kept yet begins with them. With no entries only the status is kept.

        Args:
            run_id: Name of the run.
            entries: Those that follow on the ones that are kept.
            status: How the run stands: ``running`` or a `RunStatus`; None leaves it as it is, and
                is ``running`` for a new run.

        Raises:
            StoreError: They do not follow on what is kept, or cannot be written; nothing was.
        """
        ...

    def load(self, run_id: str) -> Trajectory:
        """The trajectory of a run, for the caller to go on with.

        Raises:
            StoreError: It is not kept, or cannot be read.
        """
        ...

    def fork(self, run_id: str, into: str, length: int) -> None:
        """A further run that begins with entries of another, which are not copied.

        Raises:
            StoreError: The one is not kept or is shorter, or the other is kept already.
        """
        ...

    def search(self, run_id: str, query: str, *, limit: int = 10) -> list[Hit]:
        """Places in a run's texts that match the query, the best first; none for an unknown run."""
        ...

    def runs(self) -> list[RunInfo]:
        """All runs and sessions, the one that was written to last first."""
        ...

    def delete(self, run_id: str) -> None:
        """Forget a run; forks of it keep what they have of it.

        Raises:
            StoreError: It is not kept, or is in use.
        """
        ...

    def claim(self, run_id: str) -> AbstractContextManager[None]:
        """Have a run, kept or not, to oneself: among all that use the same store.

        Two runs of one trajectory at once would lose what one of them did, and make a call twice.
        A claim ends with its context, or with the process.

        Raises:
            ConfigurationError: Somebody has it.
        """
        ...

    def __contains__(self, run_id: object) -> bool:
        """Whether a run or session of that name is kept."""
        ...

    def close(self) -> None:
        """Release files and connections; the next use opens them again."""
        ...


@dataclass(slots=True)
class _Kept:
    """One run."""

    trajectory: Trajectory
    created: float
    status: str = "running"
    forked_from: str | None = None


class InMemoryStore:
    """Keeps the newest runs in this process.

    Args:
        keep: How many runs; the one that was written to first goes first. A run that somebody has
            stays.
    """

    blocking: bool = False

    def __init__(self, *, keep: int = 256) -> None:
        self._keep = keep
        self._runs: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.RLock()
        self._searching = threading.Lock()
        self._claims = LocalClaims()

    def append(self, run_id: str, entries: Sequence[Entry], *, status: str | None = None) -> None:
        """See `Store.append`."""
        with self._lock:
            kept = self._runs.get(run_id)
            length = len(kept.trajectory) if kept is not None else 0
            if [entry.id for entry in entries] != list(range(length, length + len(entries))):
                raise StoreError(
                    f"run {run_id!r} has {length} entries here, and what is to be added does not "
                    "follow on them: another run of it has gone on"
                )
            if kept is None:
                kept = self._runs[run_id] = _Kept(Trajectory(), time.time())
            for entry in entries:
                kept.trajectory.extend(entry)
            kept.status = status or kept.status
            self._runs.move_to_end(run_id)
            self._forget()

    def _forget(self) -> None:
        """Let the runs go that were written to first, but none that somebody has."""
        excess = len(self._runs) - self._keep
        if excess > 0:
            free = [name for name in self._runs if not self._claims.claimed(name)]
            for name in free[:excess]:
                del self._runs[name]

    def load(self, run_id: str) -> Trajectory:
        """See `Store.load`; a run that is older than the runs that are kept is unknown."""
        with self._lock:
            return self._kept(run_id).trajectory.fork()

    def fork(self, run_id: str, into: str, length: int) -> None:
        """See `Store.fork`."""
        with self._lock:
            trajectory = self._kept(run_id).trajectory
            check_fork(into, into in self._runs, length, len(trajectory))
            status = fork_status(self._runs[run_id].status, whole=length == len(trajectory))
            kept = _Kept(trajectory.fork(length), time.time(), status, run_id)
            self._runs[into] = kept

    def search(self, run_id: str, query: str, *, limit: int = 10) -> list[Hit]:
        """See `Store.search`."""
        with self._lock:
            kept = self._runs.get(run_id)
        if kept is None:
            return []
        with self._searching:  # nobody who writes waits until a large text is in the index
            return kept.trajectory.hits(query, limit=limit)

    def runs(self) -> list[RunInfo]:
        """See `Store.runs`."""
        with self._lock:
            return [self._info(name, kept) for name, kept in reversed(self._runs.items())]

    def _info(self, name: str, kept: _Kept) -> RunInfo:
        trajectory, task = kept.trajectory, kept.trajectory.task
        interrupted = kept.status == "running" and not self._claims.claimed(name)
        newest = max((entry.time for entry in trajectory), default=kept.created)
        return RunInfo(
            run_id=name,
            task=str(task.data.get("task", task.text))[:200] if task is not None else "",
            status="interrupted" if interrupted else kept.status,
            entries=len(trajectory),
            steps=trajectory.last_step,
            created=kept.created,
            updated=max(newest, kept.created),
            forked_from=kept.forked_from,
        )

    def delete(self, run_id: str) -> None:
        """See `Store.delete`."""
        with self._lock:
            self._kept(run_id)
            if self._claims.claimed(run_id):
                raise StoreError(f"run {run_id!r} is in use: delete it when it has ended")
            del self._runs[run_id]

    def claim(self, run_id: str) -> AbstractContextManager[None]:
        """See `Store.claim`."""
        return self._claims.claim(run_id)

    def __contains__(self, run_id: object) -> bool:
        with self._lock:
            return run_id in self._runs

    def close(self) -> None:
        """There is nothing to release: what is kept stays."""

    def _kept(self, run_id: str) -> _Kept:
        kept = self._runs.get(run_id)
        if kept is None:
            raise StoreError(
                f"run {run_id!r} is not kept here: resume it on the agent that ran it, in the "
                f"same process, within its next {self._keep} runs, or use Memory(SQLiteStore(path))"
            )
        return kept


def fork_status(status: str, *, whole: bool) -> str:
    """How a fork stands: as its origin did when it has all of that, else as one to be resumed."""
    return status if whole and status != "running" else "interrupted"


def check_fork(into: str, there: bool, length: int, entries: int) -> None:
    """What `Store.fork` refuses."""
    if there:
        raise StoreError(f"run {into!r} is kept already: fork into another name")
    if not 0 < length <= entries:
        raise StoreError(f"the run has {entries} entries: it cannot be forked at {length}")
