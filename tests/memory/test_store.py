"""`InMemoryStore`."""

from __future__ import annotations

import pytest

from ling_agent import StoreError, Trajectory
from ling_agent.memory import InMemoryStore


def test_it_keeps_the_newest() -> None:
    store = InMemoryStore(keep=2)
    for name in ("a", "b", "a", "c"):
        store.save(name, Trajectory())
    assert ("a" in store, "b" in store, "c" in store) == (True, False, True)
    with pytest.raises(StoreError, match="'b' is not kept"):
        store.load("b")


def test_saving_replaces() -> None:
    store, newer = InMemoryStore(), Trajectory()
    store.save("a", Trajectory())
    store.save("a", newer)
    assert store.load("a") is newer
