"""What a run remembers.

::

    Trajectory ──fold──► Window ──► the next request's messages
        │ ▲                ▲
 Journal│ │load     Compaction entries (choose, record), when a Budget is used up
        ▼ │
      Store ◄── search ── recall, open: the tools for what left the window

The `Trajectory` is the append-only log of everything. A `Store` keeps logs; a journal writes each
entry when it has to be safe. The window is a view of the log: a pure function of its entries, so a
run that is resumed sees the same bytes. A compaction is an entry, too. What it takes out of the
window stays in the log, where the model finds it by full-text search.
"""

from __future__ import annotations

import dataclasses
import os
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from .journal import Journal, open_journal
from .retention import delete_run, prune
from .search import Hit
from .store import InMemoryStore, RunInfo, Store
from .trajectory import Entry, EntryKind, Trajectory

if TYPE_CHECKING:
    from .sqlite import Rescued, SQLiteStore, rescue

__all__ = [
    "Entry",
    "EntryKind",
    "Hit",
    "InMemoryStore",
    "Memory",
    "Rescued",
    "RunInfo",
    "SQLiteStore",
    "Store",
    "Trajectory",
    "delete_run",
    "prune",
    "rescue",
]


def __getattr__(name: str) -> Any:
    """What needs SQLite, when it is first asked for."""
    if name in ("Rescued", "SQLiteStore", "rescue"):
        from . import sqlite

        return getattr(sqlite, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@dataclass(frozen=True)
class Memory:
    """How an agent remembers; share one between agents that continue each other's runs.

    Attributes:
        store: Where trajectories are kept; in this process by default. `SQLiteStore` keeps them
            in a file.
        context_window: Tokens of prompt and answer together, in place of what the model's file or
            server says, or where it says nothing. A smaller one makes prompts cheaper.
        high_watermark: Share of the window at which the prompt is compacted.
        low_watermark: Share of the window down to which it is.
        max_observation_tokens: Longer observations are stored whole and shown cut; None for an
            eighth of the window, between 192 and 16,384.
        summarize: Whether the model writes the record of steps that leave the window; otherwise it
            is made from the log, which costs nothing and says less.

    Raises:
        ConfigurationError: A value that cannot be.
    """

    store: Store = dataclasses.field(default_factory=InMemoryStore)
    context_window: int | None = None
    high_watermark: float = 0.85
    low_watermark: float = 0.5
    max_observation_tokens: int | None = None
    summarize: bool = True
    _unsaved: dict[str, Trajectory] = dataclasses.field(repr=False, compare=False, init=False)

    def __init__(
        self,
        store: Store | None = None,
        *,
        context_window: int | None = None,
        high_watermark: float = 0.85,
        low_watermark: float = 0.5,
        max_observation_tokens: int | None = None,
        summarize: bool = True,
    ) -> None:
        if isinstance(store, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"Memory: for a file write Memory(SQLiteStore({str(store)!r}))"
            )
        if not 0 < low_watermark < high_watermark <= 1:
            raise ConfigurationError(
                f"Memory: low_watermark={low_watermark} and high_watermark={high_watermark} must "
                "be shares of the window, the low one below the high one"
            )
        _check_tokens("context_window", context_window, least=512)
        _check_tokens("max_observation_tokens", max_observation_tokens, least=32)
        vars(self).update(  # a frozen dataclass takes no assignments
            store=InMemoryStore() if store is None else store,
            context_window=context_window,
            high_watermark=high_watermark,
            low_watermark=low_watermark,
            max_observation_tokens=max_observation_tokens,
            summarize=summarize,
            _unsaved={},
        )

    async def open(self, run_id: str, *, known: bool) -> Journal:
        """The log of a run with its store; used by the agent. See `open_journal`."""
        return await open_journal(self.store, run_id, self._unsaved, known=known)

    def fork(self, run_id: str, *, step: int | None = None, into: str | None = None) -> str:
        """A further run that begins as another did; nothing is copied.

        Give its name to `Agent.resume`, or to `Agent.run` as ``session``. It blocks, as the store
        does: in async code call it in a thread.

        Args:
            run_id: The run or session.
            step: The model request behind which it is to part; the newest by default.
            into: Name of the new run.

        Returns:
            The name.

        Raises:
            StoreError: The run is not kept, or the new name is taken.
            ConfigurationError: There is no such step.
        """
        trajectory = self.store.load(run_id)
        length = len(trajectory) if step is None else trajectory.checkpoint(step)
        name = into or uuid.uuid4().hex[:12]
        self.store.fork(run_id, name, length)
        return name

    def pin(self, run_id: str, text: str) -> None:
        """Keep a text in a session's prompts, from its next task on, whatever is compacted.

        It blocks, as the store does: in async code call it in a thread.

        Raises:
            StoreError: The session is not kept.
            ConfigurationError: A run of it has not ended.
        """
        with self.store.claim(run_id):
            trajectory = self.store.load(run_id)
            self.store.append(run_id, [trajectory.pin(text)])


def _check_tokens(name: str, value: int | None, *, least: int) -> None:
    if value is not None and (not isinstance(value, int) or value < least):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f"Memory: {name}={value!r} must be a whole number from {least} on")
