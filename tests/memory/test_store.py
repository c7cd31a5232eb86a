"""`InMemoryStore`; what all stores do is in the conformance suite."""

from __future__ import annotations

import pytest

from ling_agent import StoreError, Trajectory
from ling_agent.memory import InMemoryStore
from ling_agent.messages import UserMessage


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
