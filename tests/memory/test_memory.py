"""`Memory`: where runs are kept, and that each is had by one at a time."""

from __future__ import annotations

import pytest

from ling_agent import ConfigurationError, Memory
from ling_agent.memory import InMemoryStore


def test_none_stands_for_this_process() -> None:
    assert isinstance(Memory(None).store, InMemoryStore)
    assert isinstance(Memory(store=None).store, InMemoryStore)
    assert Memory().store is not Memory().store


def test_a_run_is_claimed_by_one_at_a_time() -> None:
    memory = Memory()
    with (
        memory.claim("a"),
        memory.claim("b"),
        pytest.raises(ConfigurationError, match="'a' has not ended"),
        memory.claim("a"),
    ):
        pytest.fail("not reached")
    with pytest.raises(LookupError), memory.claim("a"):
        raise LookupError
    with memory.claim("a"):
        pass
