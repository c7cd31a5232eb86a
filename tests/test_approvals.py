"""Decisions: checked before anything is done, kept until their call is answered."""

from __future__ import annotations

from typing import Any

import pytest

from ling_agent import Agent, ConfigurationError, Deny, Edit, Limits, RunStatus, Trajectory, tool
from ling_agent.memory import Memory
from ling_agent.testing import ScriptedBackend

from .helpers import call, calls, kinds, observations

pytestmark = pytest.mark.anyio

BROKEN = '<tool_call>\n{"name": "look", "arguments": {"item": }}\n</tool_call>'


class Shop:
    """Two purchases wait; in between stands a call that does not."""

    def __init__(self, *, memory: Memory | None = None) -> None:
        self.ran: list[str] = []

        @tool
        async def look(item: str) -> str:
            """Look."""
            self.ran.append(f"look {item}")
            return item

        @tool(requires_approval=True)
        async def buy(item: str, options: dict[str, int] | None = None) -> str:
            """Buy."""
            self.ran.append(f"buy {item}")
            return f"bought {item} {options}"

        written = calls(
            call("buy", item="a"), call("look", item="b"), BROKEN, call("buy", item="c")
        )
        backend = ScriptedBackend([written, "done"])
        self.agent = Agent(backend, tools=[look, buy], planning="off", memory=memory)


FIRST, LOOK, UNREADABLE, SECOND = (f"call_1_{index}" for index in range(4))


async def test_a_decision_about_a_later_call_is_kept_until_its_turn() -> None:
    shop = Shop()
    result = await shop.agent.run("x")
    assert [waiting.id for waiting in result.pending_approvals] == [FIRST, SECOND]
    result = await shop.agent.resume(result.run_id, approvals={SECOND: True})
    assert [waiting.id for waiting in result.pending_approvals] == [FIRST]
    assert shop.ran == []
    result = await shop.agent.resume(result.run_id, approvals={FIRST: True})
    assert (result.output, sorted(shop.ran)) == ("done", ["buy a", "buy c", "look b"])


@pytest.mark.parametrize(
    ("decision", "told"),
    [(True, "bought c None"), (Deny("dear"), "dear"), (Edit({"item": "d"}), "bought d None")],
)
async def test_a_decision_survives_a_limit_and_a_file(decision: Any, told: str) -> None:
    shop = Shop()
    result = await shop.agent.run("x")
    result = await shop.agent.resume(
        result.run_id, approvals={FIRST: True, SECOND: decision}, limits=Limits(max_tool_calls=1)
    )
    assert (result.status, shop.ran) == (RunStatus.max_tool_calls, ["buy a"])

    memory = Memory()
    memory.store.append("kept", list(Trajectory.from_jsonl(result.trajectory.to_jsonl())))
    later = Shop(memory=memory)
    resumed = await Agent(
        ScriptedBackend(["done"]), tools=later.agent.tools, planning="off", memory=memory
    ).resume("kept")
    assert resumed.output == "done"
    assert told in observations(resumed)[-1]
    assert shop.ran == ["buy a"]
    assert "buy a" not in later.ran


async def test_a_later_decision_replaces_an_earlier_one() -> None:
    shop = Shop()
    run_id = (await shop.agent.run("x")).run_id
    await shop.agent.resume(run_id, approvals={SECOND: True})
    result = await shop.agent.resume(run_id, approvals={FIRST: False, SECOND: False})
    assert (result.output, shop.ran) == ("done", ["look b"])
    assert kinds(result).count("approval") == 3


@pytest.mark.parametrize("call_id", [LOOK, UNREADABLE, "call_9_9"])
async def test_a_call_that_does_not_wait_for_a_decision_takes_none(call_id: str) -> None:
    shop = Shop()
    run_id = (await shop.agent.run("x")).run_id
    with pytest.raises(ConfigurationError, match=f"waiting: {FIRST}, {SECOND}"):
        await shop.agent.resume(run_id, approvals={FIRST: True, call_id: False})
    result = await shop.agent.resume(run_id)
    assert result.pending_approvals[0].id == FIRST, "nothing was written down"


@pytest.mark.parametrize(
    "arguments", [{"item": object()}, {"item": float("nan")}, None, ["item"], {"item": {1, 2}}]
)
async def test_an_edit_that_is_no_json_object_is_refused(arguments: Any) -> None:
    shop = Shop()
    run_id = (await shop.agent.run("x")).run_id
    with pytest.raises(ConfigurationError, match="must be a JSON object"):
        await shop.agent.resume(run_id, approvals={FIRST: Edit(arguments)})
    assert shop.ran == []


async def test_an_edit_is_copied() -> None:
    shop = Shop()
    run_id = (await shop.agent.run("x")).run_id
    arguments: dict[str, Any] = {"item": "d", "options": {"n": 1}}
    await shop.agent.resume(run_id, approvals={SECOND: Edit(arguments)})
    arguments["options"]["n"] = 2
    result = await shop.agent.resume(run_id, approvals={FIRST: True})
    assert "bought d {'n': 1}" in observations(result)[-1]


async def test_an_edit_that_does_not_fit_is_told_while_it_can_be_given_anew() -> None:
    shop = Shop()
    result = await shop.agent.run("x")
    with pytest.raises(ConfigurationError, match=f"Edit of {FIRST}: buy does not take this: "):
        await shop.agent.resume(result.run_id, approvals={FIRST: Edit({"item": ["a"]})})
    again = await shop.agent.resume(result.run_id)
    assert [call.id for call in again.pending_approvals] == [FIRST, SECOND]
    assert shop.ran == []
