"""`prune`: which runs go and which stay."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ling_agent import ConfigurationError, StoreError, Trajectory
from ling_agent.memory import InMemoryStore, RunInfo, Store
from ling_agent.memory.retention import delete_run, prune
from ling_agent.memory.sqlite import SQLiteStore
from ling_agent.messages import AssistantMessage, ToolCall, UserMessage

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


def write_with_sub_agents(store: Store, name: str) -> None:
    """A run whose call a sub-agent worked for, whose call another one worked for."""
    log = Trajectory()
    call = ToolCall("call_1_0", "helper", {})
    entries = [
        log.append("task", UserMessage("x")),
        log.append("assistant", AssistantMessage("", calls=(call,)), step=1),
    ]
    store.append(name, entries, status="completed")
    store.append(f"{name}/call_1_0", entries, status="completed")
    write(store, f"{name}/call_1_0/call_1_0")


def test_the_runs_of_sub_agents_go_with_a_run(store: Store) -> None:
    write_with_sub_agents(store, "a")
    write_with_sub_agents(store, "ab")
    delete_run(store, "a")
    assert left(store) == {"ab", "ab/call_1_0", "ab/call_1_0/call_1_0"}
    delete_run(store, "ab", store.load("ab"))
    assert left(store) == set()
    with pytest.raises(StoreError):
        delete_run(store, "a")


def test_the_runs_of_sub_agents_count_for_nothing(store: Store) -> None:
    write_with_sub_agents(store, "old")
    write(store, "new")
    write(store, "gone/call_1_0")
    write(store, "old/call_1_0")  # written to last, and not for itself
    assert prune(store, keep=3) == []
    assert set(prune(store, keep=2)) == {"old", "old/call_1_0", "old/call_1_0/call_1_0"}
    assert left(store) == {"new", "gone/call_1_0"}
