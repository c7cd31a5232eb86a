"""What a run remembers: the append-only trajectory and where it is kept."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator
from dataclasses import dataclass, field

from ..errors import ConfigurationError
from .store import InMemoryStore, Store
from .trajectory import Entry, EntryKind, Trajectory

__all__ = ["Entry", "EntryKind", "InMemoryStore", "Memory", "Store", "Trajectory"]


@dataclass(frozen=True, init=False)
class Memory:
    """How an agent remembers its runs; share one between agents that continue each other's runs.

    Attributes:
        store: Where trajectories are kept for `Agent.resume`; in this process by default.
    """

    store: Store
    _lock: threading.Lock = field(repr=False, compare=False, init=False)
    _running: set[str] = field(repr=False, compare=False, init=False)

    def __init__(self, store: Store | None = None) -> None:
        # A frozen dataclass takes no assignments.
        vars(self).update(store=store or InMemoryStore(), _lock=threading.Lock(), _running=set())

    @contextlib.contextmanager
    def claim(self, run_id: str) -> Generator[None, None, None]:
        """Have a run or session to oneself; used by the agent.

        Two runs of one trajectory at once would lose what one of them did, and run a call that
        waits twice.

        Raises:
            ConfigurationError: A run of that name has not ended.
        """
        with self._lock:
            if run_id in self._running:
                raise ConfigurationError(
                    f"run {run_id!r} has not ended: wait for it, or use another session"
                )
            self._running.add(run_id)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(run_id)
