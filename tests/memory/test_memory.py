"""`Memory`: where runs are kept, and that each is had by one at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ling_agent import Agent, ConfigurationError, Memory, tool
from ling_agent.memory import InMemoryStore, SQLiteStore
from ling_agent.testing import ScriptedBackend

from ..helpers import call


def test_none_stands_for_this_process() -> None:
    assert isinstance(Memory(None).store, InMemoryStore)
    assert isinstance(Memory(store=None).store, InMemoryStore)
    assert Memory().store is not Memory().store


@pytest.mark.parametrize("path", ["runs.db", Path("runs.db")])
def test_a_path_is_no_store_and_a_store_no_memory(path: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"write Memory\(SQLiteStore\('runs.db'\)\)"):
        Memory(path)
    store: Any = SQLiteStore(path)
    with pytest.raises(ConfigurationError, match=r"give a Memory, such as Memory\(store\)"):
        Agent(ScriptedBackend([]), memory=store)


def test_a_run_is_claimed_by_one_at_a_time() -> None:
    memory = Memory()
    with (
        memory.store.claim("a"),
        memory.store.claim("b"),
        pytest.raises(ConfigurationError, match="'a' has not ended"),
        memory.store.claim("a"),
    ):
        pytest.fail("not reached")
    with pytest.raises(LookupError), memory.store.claim("a"):
        raise LookupError
    with memory.store.claim("a"):
        pass


@pytest.mark.anyio
async def test_a_run_that_is_going_on_is_not_forgotten_for_newer_ones() -> None:
    memory = Memory(InMemoryStore(keep=2))
    other = Agent(ScriptedBackend(["done"] * 5), planning="off", memory=memory)

    @tool
    async def ask() -> str:
        """Ask others."""
        for _ in range(5):
            assert (await other.run("x")).ok
        return "asked"

    agent = Agent(
        ScriptedBackend([call("ask"), "done"]), tools=[ask], planning="off", memory=memory
    )
    result = await agent.run("x")
    assert result.output == "done"
    assert len(memory.store.runs()) == 2
    assert result.run_id in memory.store
