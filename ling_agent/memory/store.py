"""Where trajectories are kept between a run and its `Agent.resume`."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Protocol

from ..errors import StoreError
from .trajectory import Trajectory


class Store(Protocol):
    """Keeps trajectories by run id; safe to call from any thread."""

    def save(self, run_id: str, trajectory: Trajectory) -> None:
        """Keep the trajectory, replacing what was kept under that id."""
        ...

    def load(self, run_id: str) -> Trajectory:
        """The trajectory of a run; `StoreError` when it is not kept."""
        ...

    def __contains__(self, run_id: object) -> bool:
        """Whether a run or session of that name is kept."""
        ...


class InMemoryStore:
    """Keeps the newest trajectories in this process.

    Args:
        keep: How many runs; the oldest goes first.
    """

    def __init__(self, *, keep: int = 256) -> None:
        self._keep = keep
        self._runs: OrderedDict[str, Trajectory] = OrderedDict()
        self._lock = threading.Lock()

    def save(self, run_id: str, trajectory: Trajectory) -> None:
        """Keep the trajectory itself: it is append-only, so no copy is needed."""
        with self._lock:
            self._runs[run_id] = trajectory
            self._runs.move_to_end(run_id)
            while len(self._runs) > self._keep:
                self._runs.popitem(last=False)

    def load(self, run_id: str) -> Trajectory:
        """The trajectory of a run.

        Raises:
            StoreError: The run is unknown, or older than the runs that are kept.
        """
        with self._lock:
            trajectory = self._runs.get(run_id)
        if trajectory is None:
            raise StoreError(
                f"run {run_id!r} is not kept here: resume it on the agent that ran it, in the "
                f"same process, within its next {self._keep} runs"
            )
        return trajectory

    def __contains__(self, run_id: object) -> bool:
        with self._lock:
            return run_id in self._runs
