"""Agents with sub-agents: what a request leaves behind, and whose calls wait."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ling_agent import Agent, tool
from ling_agent.memory import InMemoryStore, Memory, SQLiteStore, Store
from ling_agent.serve import asgi
from ling_agent.testing import ScriptedBackend

from ..helpers import call
from .asgi import chat

pytestmark = pytest.mark.anyio


@tool(requires_approval=True)
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


def agent_of(store: Store, *helpers: str) -> Agent[Any]:
    helper = Agent(ScriptedBackend(helpers), tools=[pay], planning="off", name="helper")
    script = [call("helper", task="x"), "done"]
    tools = [helper.as_tool()]
    return Agent(ScriptedBackend(script), tools=tools, planning="off", memory=Memory(store))


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_a_request_without_a_session_leaves_nothing(kind: str, tmp_path: Path) -> None:
    store = InMemoryStore() if kind == "memory" else SQLiteStore(tmp_path / "runs.db")
    answer = await chat(asgi(agent_of(store, "fine")), "one")
    assert answer.json()["choices"][0]["message"]["content"] == "done"
    assert store.runs() == []
    store.close()


async def test_calls_of_a_sub_agent_are_decided_over_http() -> None:
    store = InMemoryStore()
    app = asgi(agent_of(store, call("pay", amount=3), "paid"))
    answer = (await chat(app, "one")).json()
    (waiting,) = answer["choices"][0]["message"]["tool_calls"]
    assert waiting["id"] == "call_1_0/call_1_0"
    assert waiting["function"]["name"] == "pay"
    run_id = answer["ling_agent"]["result"]["run_id"]
    assert {run.run_id for run in store.runs()} == {run_id, f"{run_id}/call_1_0"}
