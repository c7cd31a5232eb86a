"""`prune`: which runs go and which stay."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ling_agent import ConfigurationError, Trajectory
from ling_agent.memory import InMemoryStore, RunInfo, Store
from ling_agent.memory.retention import prune
from ling_agent.memory.sqlite import SQLiteStore
from ling_agent.messages import UserMessage

DAY = 86_400.0


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store = InMemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "runs.db")
    yield store
    store.close()


def write(store: Store, *names: str) -> None:
    for name in names:
        log = Trajectory(store.load(name) if name in store else ())
        store.append(name, [log.append("task", UserMessage(name))], status="completed")


def left(store: Store) -> set[str]:
    return {run.run_id for run in store.runs()}


def test_those_written_to_last_stay(store: Store) -> None:
    write(store, "a", "b", "c", "a")
    assert prune(store, keep=2) == ["b"]
    assert left(store) == {"a", "c"}
    assert prune(store, keep=0) == ["a", "c"]


def test_without_a_limit_all_stay(store: Store) -> None:
    write(store, "a", "b")
    assert prune(store) == []
    assert prune(store, keep=2, older_than=60) == []
    assert left(store) == {"a", "b"}


def test_a_run_that_somebody_has_stays(store: Store) -> None:
    write(store, "a", "b")
    with store.claim("a"):
        assert prune(store, keep=0) == ["b"]
    assert left(store) == {"a"}


class Aged(InMemoryStore):
    """A store whose runs were written to some time ago."""

    def __init__(self, **ages: float) -> None:
        super().__init__()
        write(self, *ages)
        self._ages = ages

    def runs(self) -> list[RunInfo]:
        return [
            dataclasses.replace(run, updated=time.time() - self._ages[run.run_id])
            for run in super().runs()
        ]


def test_old_runs_go_and_those_of_the_future_stay() -> None:
    store = Aged(old=3 * DAY, new=DAY, future=-9 * DAY)
    assert prune(store, older_than=timedelta(days=2)) == ["old"]
    assert prune(store, older_than=DAY / 2) == ["new"]
    assert left(store) == {"future"}


def test_arguments_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="keep is -1"):
        prune(InMemoryStore(), keep=-1)
    with pytest.raises(ConfigurationError, match="older_than is -5"):
        prune(InMemoryStore(), older_than=-5)
