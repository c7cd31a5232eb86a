"""Runs in the logs: what is told at which level, and that nothing that was said is."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

from ling_agent import Agent, BackendUnavailable, tool
from ling_agent.testing import Reply, ScriptedBackend

from ..helpers import call

pytestmark = pytest.mark.anyio

SAID = "the price of tea"


@tool
def look(item: str) -> str:
    """Look."""
    return f"{item} is {SAID}"


@tool
def fail() -> str:
    """Fail."""
    raise ValueError(SAID)


def agent_of(*script: Any) -> Agent[str]:
    return Agent(ScriptedBackend(script), tools=[look, fail], planning="off", name="shop")


def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [r.__dict__["run"] for r in caplog.records if r.name == "ling_agent.run"]


async def test_the_end_of_a_run(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ling_agent.run")
    result = await agent_of(call("look", item="tea"), "done").run(SAID)
    (fields,) = told(caplog)
    assert (fields["agent"], fields["run_id"]) == ("shop", result.run_id)
    assert (fields["status"], fields["error"]) == ("completed", None)
    assert (fields["requests"], fields["tool_calls"]) == (2, 1)
    (record,) = [r for r in caplog.records if r.name == "ling_agent.run"]
    assert record.levelno == logging.INFO
    assert record.getMessage().startswith(f"shop {result.run_id}: completed: 2 requests, 1 calls, ")


async def test_requests_and_calls(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ling_agent.run")
    script = [call("look", item="tea") + call("fail"), Reply(SAID, finish_reason="length")]
    await agent_of(*script).run(SAID)
    first, *tools, second, end = told(caplog)
    assert (first["step"], second["step"]) == (1, 2)
    assert second["finish_reason"] == "length"
    assert {(t["tool"], t["is_error"]) for t in tools} == {("look", False), ("fail", True)}
    assert end["status"] == "max_tokens"
    assert SAID not in caplog.text + str(told(caplog))


async def test_a_failure_has_its_type(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ling_agent.run")
    await agent_of(call("look", item="tea"), BackendUnavailable("gone")).run("x")
    (fields,) = told(caplog)
    assert (fields["status"], fields["error"]) == ("failed", "BackendUnavailable")


async def test_nothing_is_said_without_a_listener(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "ling_agent.run")
    await agent_of("done").run("x")
    assert told(caplog) == []


async def test_the_end_of_a_run_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ling_agent.run")
    with pytest.raises(BackendUnavailable):
        await agent_of(BackendUnavailable("gone")).run("x")
    (fields,) = told(caplog)
    assert (fields["status"], fields["error"]) == ("failed", "BackendUnavailable")


async def test_the_end_of_a_run_whose_task_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ling_agent.run")
    with anyio.move_on_after(0.05):
        await agent_of(Reply("never", delay=3600.0)).run("x")
    (fields,) = told(caplog)
    assert fields["status"] == "cancelled"
