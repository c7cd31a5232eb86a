"""`InMemoryStore`; what all stores do is in the conformance suite."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ling_agent import StoreError, Trajectory
from ling_agent.memory import Hit, InMemoryStore, SQLiteStore
from ling_agent.messages import UserMessage
from tests.helpers import GUARD
from tests.memory.entries import log


def test_it_keeps_the_runs_that_were_written_to_last() -> None:
    store = InMemoryStore(keep=2)
    for name in ("a", "b", "a", "c"):
        more = Trajectory(store.load(name) if name in store else ())
        store.append(name, [more.append("note", UserMessage("x"))])
    assert ("a" in store, "b" in store, "c" in store) == (True, False, True)
    with pytest.raises(StoreError, match="'b' is not kept"):
        store.load("b")


def test_it_does_not_block() -> None:
    assert not InMemoryStore.blocking


def test_nobody_who_writes_waits_for_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    entered, release = threading.Event(), threading.Event()

    def slow(trajectory: Trajectory, query: str, *, limit: int = 10) -> list[Hit]:
        entered.set()
        assert release.wait(GUARD)
        return []

    monkeypatch.setattr(Trajectory, "hits", slow)
    store, entries = InMemoryStore(), log(2)
    store.append("a", entries[:1])
    searching = threading.Thread(target=store.search, args=("a", "x"))
    searching.start()
    assert entered.wait(GUARD)
    writing = threading.Thread(target=store.append, args=("a", entries[1:]))
    writing.start()
    writing.join(GUARD / 2)
    ended = not writing.is_alive()
    release.set()
    searching.join(GUARD)
    writing.join(GUARD)
    assert ended


def test_a_whole_fork_stands_as_its_origin_and_a_part_is_to_be_resumed(tmp_path: Path) -> None:
    for store in (InMemoryStore(), SQLiteStore(tmp_path / "runs.db")):
        store.append("a", log(3), status="completed")
        store.fork("a", "whole", 3)
        store.fork("a", "part", 2)
        found = {run.run_id: run.status for run in store.runs()}
        assert (found["whole"], found["part"]) == ("completed", "interrupted")
        store.close()
