"""What a run remembers: the append-only trajectory and where it is kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from .store import InMemoryStore, Store
from .trajectory import Entry, EntryKind, Trajectory

__all__ = ["Entry", "EntryKind", "InMemoryStore", "Memory", "Store", "Trajectory"]


@dataclass(frozen=True)
class Memory:
    """How an agent remembers its runs.

    Attributes:
        store: Where trajectories are kept for `Agent.resume`.
    """

    store: Store = field(default_factory=InMemoryStore)
