"""`prune`: runs that have been kept long enough are deleted, in any store."""

from __future__ import annotations

import contextlib
import time
from datetime import timedelta

from ..errors import ConfigurationError, StoreError
from .store import RunInfo, Store


def prune(
    store: Store, *, keep: int | None = None, older_than: timedelta | float | None = None
) -> list[str]:
    """Delete runs that were not written to for long; never one that somebody has.

    With both arguments a run goes when either says so.

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

    old = [run.run_id for place, run in enumerate(store.runs()) if goes(place, run)]
    return [run_id for run_id in old if _deleted(store, run_id)]


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
