"""Runs are deleted with those of their sub-agents, in any store: `delete_run`, `prune`."""

from __future__ import annotations

import contextlib
import time
from datetime import timedelta

from ..errors import ConfigurationError, StoreError
from ..messages import AssistantMessage
from .store import RunInfo, Store
from .trajectory import Trajectory


def prune(
    store: Store, *, keep: int | None = None, older_than: timedelta | float | None = None
) -> list[str]:
    """Delete runs that were not written to for long; never one that somebody has.

    With both arguments a run goes when either says so. The runs of its sub-agents go with it, and
    count for nothing while it is there.

    Args:
        store: Where they are kept.
        keep: So many stay: those that were written to last, whatever clocks say.
        older_than: Those go that were last written to so long ago, in seconds or as a time. A run
            with a time in the future, after a clock went back, stays.

    Returns:
        The names of the deleted runs.

    Raises:
        ConfigurationError: An argument that makes no sense.
        StoreError: The store cannot be written.
    """
    if keep is not None and keep < 0:
        raise ConfigurationError(f"keep is {keep}: give the number of runs that stay, from 0 on")
    seconds = older_than.total_seconds() if isinstance(older_than, timedelta) else older_than
    if seconds is not None and not seconds >= 0:
        raise ConfigurationError(f"older_than is {older_than}: give a time from 0 on")
    now = time.time()

    def goes(place: int, run: RunInfo) -> bool:
        return (keep is not None and place >= keep) or (
            seconds is not None and now - run.updated > seconds
        )

    runs = store.runs()
    names = {run.run_id for run in runs}
    roots = [run for run in runs if run.run_id.rpartition("/")[0] not in names]
    old = [run.run_id for place, run in enumerate(roots) if goes(place, run)]
    gone: list[str] = []
    for run_id in old:
        if _deleted(store, run_id):
            below = sorted(name for name in names if name.startswith(f"{run_id}/"))
            gone += [run_id, *(name for name in below if _deleted(store, name))]
    return gone


def delete_run(store: Store, run_id: str, trajectory: Trajectory | None = None) -> None:
    """Delete a run and those of its sub-agents.

    Args:
        store: Where they are kept.
        run_id: Name of the run.
        trajectory: Its log, where that is at hand; it names the calls that sub-agents worked for.

    Raises:
        ConfigurationError: Somebody has it.
        StoreError: It is not kept, or the store cannot be written.
    """
    log = _log(store, run_id) if trajectory is None else trajectory
    store.delete(run_id)
    for entry in log:
        if isinstance(entry.message, AssistantMessage):
            for call in entry.message.calls:
                below = f"{run_id}/{call.id}"
                if below in store:
                    delete_run(store, below)


def _log(store: Store, run_id: str) -> Trajectory:
    try:
        return store.load(run_id)
    except StoreError:
        if run_id not in store:
            raise
        return Trajectory()  # damaged: it can be deleted all the same


def _deleted(store: Store, run_id: str) -> bool:
    """Delete a run unless somebody has it, or has deleted it by now."""
    if _in_use(store, run_id):
        return False
    try:
        store.delete(run_id)
    except StoreError:
        if run_id in store and not _in_use(store, run_id):
            raise
        return False
    return True


def _in_use(store: Store, run_id: str) -> bool:
    with contextlib.suppress(ConfigurationError), store.claim(run_id):
        return False
    return True
