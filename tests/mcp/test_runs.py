"""Runs of an agent that has a server among its tools."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from ling_agent import Agent, BackendUnavailable, ConfigurationError, RunStatus, tool
from ling_agent.events import ToolProgress
from ling_agent.mcp import MCPProgress, MCPServer
from ling_agent.testing import ScriptedBackend
from ling_agent.tools.source import ToolSource

from ..helpers import call, calls, observations, stream
from .support import bench, gone, written

pytestmark = pytest.mark.anyio

PROTOCOLS = pytest.mark.parametrize("flags", [(), ("--old",)], ids=["2026", "2025"])


def agent_with(server: MCPServer, *replies: str) -> Agent[str]:
    return Agent(ScriptedBackend(replies), tools=[server], planning="off")


@tool
def add() -> str:
    """A tool with a name that the server has as well."""
    return ""


def test_a_server_is_a_tool_source(tmp_path: Path) -> None:
    assert isinstance(bench(tmp_path), ToolSource)


@PROTOCOLS
async def test_a_run_opens_and_closes_a_connection(tmp_path: Path, flags: tuple[str, ...]) -> None:
    server = bench(tmp_path, *flags, prefix="b")
    both = calls(call("b_add", a=1, b=2), call("b_fail", reason="no"))
    result = await agent_with(server, both, "It is 3.").run("Add.")
    assert result.output == "It is 3."
    assert observations(result) == ["3", "Error: Error executing tool fail: no"]
    (pid,) = await written(tmp_path / "begun")
    await gone(int(pid))


def test_run_sync(tmp_path: Path) -> None:
    agent = agent_with(bench(tmp_path), call("add", a=1, b=2), "It is 3.")
    assert observations(agent.run_sync("Add.")) == ["3"]


async def test_run_sync_where_a_loop_runs_that_holds_the_server(tmp_path: Path) -> None:
    """The loop is blocked meanwhile, so the run cannot use its connection."""
    async with bench(tmp_path) as server:
        agent = agent_with(server, call("add", a=1, b=2), "It is 3.")
        assert observations(agent.run_sync("Add.")) == ["3"]
    assert len(await written(tmp_path / "begun")) == 2


@PROTOCOLS
async def test_runs_share_what_the_application_holds(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """Each of the five calls returns when all are there; afterwards the connection is still up."""

    async def run() -> None:
        agent = agent_with(server, call("meet", count=5, key="met"), "Met.")
        assert observations(await agent.run("Meet.")) == ["met"]

    async with bench(tmp_path, *flags) as server:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(run)
        assert observations(await agent_with(server, call("pid"), "Done.").run("x")) == (
            await written(tmp_path / "begun")
        )


async def test_prompts_of_a_run_keep_its_tools_and_the_next_run_has_the_new_ones(
    tmp_path: Path,
) -> None:
    backend = ScriptedBackend([call("learn", word="fly"), "Learned.", call("fly"), "Flown."])
    async with bench(tmp_path) as server:
        agent = Agent(backend, tools=[server], planning="off")
        await agent.run("Learn.")
        result = await agent.run("Fly.")
    assert observations(result) == ["fly"]
    before, during, after, last = (request.tools for request in backend.requests)
    assert before == during
    assert after == last
    assert before is not None
    assert after is not None
    names = [entry["function"]["name"] for entry in after if entry not in before]
    assert names == ["fly"]


async def test_progress_of_the_server_is_an_event_of_the_run(tmp_path: Path) -> None:
    events, _ = await stream(agent_with(bench(tmp_path), call("count", steps=3), "Counted."))
    payloads = [event.payload for event in events if isinstance(event, ToolProgress)]
    assert payloads[-1] == MCPProgress(3.0, 3.0, "step 3")


async def test_a_run_asks_for_approval(tmp_path: Path) -> None:
    server = bench(tmp_path, requires_approval=["wipe"])
    agent = agent_with(server, call("wipe", path="x"), "Wiped.")
    result = await agent.run("Wipe.")
    assert result.status is RunStatus.needs_approval
    (pending,) = result.pending_approvals
    result = await agent.resume(result.run_id, approvals={pending.id: True})
    assert observations(result) == ["wiped x"]


@PROTOCOLS
async def test_cancelling_a_run_cancels_its_call(tmp_path: Path, flags: tuple[str, ...]) -> None:
    async with bench(tmp_path, *flags) as server:
        agent = agent_with(server, call("hang"))
        async with agent.stream("Hang.") as run, anyio.create_task_group() as group:

            async def cancel() -> None:
                await written(tmp_path / "hanging")
                run.cancel()

            group.start_soon(cancel)
            async for _ in run:
                pass
        assert run.result.status is RunStatus.cancelled
        await written(tmp_path / "cancelled")
        assert observations(await agent_with(server, call("pid"), "Done.").run("x")) == (
            await written(tmp_path / "begun")
        )


async def test_a_server_that_cannot_be_opened_is_an_error_of_the_run() -> None:
    with pytest.raises(ConfigurationError, match="there is no command 'no-such-program'"):
        await agent_with(MCPServer.stdio("no-such-program")).run("x")
    with pytest.raises(BackendUnavailable, match="exited before it answered"):
        await agent_with(MCPServer.stdio("false")).run("x")


async def test_a_name_that_two_have_is_told_with_the_server(tmp_path: Path) -> None:
    agent = Agent(ScriptedBackend([]), tools=[bench(tmp_path), add])
    with pytest.raises(
        ConfigurationError, match=r"two tools are named 'add': .*MCP server 'python"
    ):
        await agent.run("x")
