"""An agent that is offered over MCP, asked by the SDK's own client and by our own, over stdio."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import mcp_types
import pytest
from mcp import Client, MCPError, StdioServerParameters

from ling_agent import Agent
from ling_agent.mcp import MCPProgress, MCPServer
from ling_agent.mcp.offered import Offer
from ling_agent.testing import ScriptedBackend

from ..helpers import GUARD
from .support import ROOT, call, text, written

pytestmark = pytest.mark.anyio

MODULE = "tests.mcp.servers.offered"
MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])


@asynccontextmanager
async def client(state: Path, mode: str = "auto") -> AsyncGenerator[Client, None]:
    """The SDK's client of the offered agent."""
    command = ["-m", MODULE, "stdio", str(state)]
    server = StdioServerParameters(command=sys.executable, args=command, cwd=ROOT)
    with anyio.fail_after(GUARD):
        async with Client(server, mode=mode) as connected:
            yield connected


async def ask(connected: Client, task: str, **arguments: str) -> mcp_types.CallToolResult:
    return await connected.call_tool("my_helper", {"task": task, **arguments})


def said(result: mcp_types.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, mcp_types.TextContent)
    return block.text


@MODES
async def test_the_agent_is_one_tool(tmp_path: Path, mode: str) -> None:
    async with client(tmp_path, mode) as connected:
        (tool,) = (await connected.list_tools()).tools
    assert tool.name == "my_helper"
    assert tool.description == "Gives the agent my helper a task, and returns its answer."
    assert set(tool.input_schema["properties"]) == {"task", "session"}
    assert tool.input_schema["required"] == ["task"]


@MODES
async def test_a_task_is_answered_with_progress_and_nothing_else_on_stdout(
    tmp_path: Path, mode: str
) -> None:
    lines: list[tuple[float, str | None]] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        lines.append((progress, message))

    async with client(tmp_path, mode) as connected:
        result = await connected.call_tool(
            "my_helper", {"task": "shout"}, progress_callback=progress
        )
    assert (said(result), result.is_error) == ("The tool says: HELLO", False)
    # Each is a task of the SDK's, and trio keeps no order of tasks.
    told = [message for _, message in sorted(lines) if message]
    assert [number for number, _ in sorted(lines)] == [1, 2, 3, 4]
    assert told[:2] == ["step 1", "shout runs"]
    assert told[2].startswith("shout finished after ")
    assert told[3] == "step 2"


async def test_a_session_goes_on(tmp_path: Path) -> None:
    async with client(tmp_path) as connected:
        assert said(await ask(connected, "count", session="a")) == "This is task 1."
        assert said(await ask(connected, "count", session="a")) == "This is task 2."
        assert said(await ask(connected, "count", session="b")) == "This is task 1."
        assert said(await ask(connected, "count")) == "This is task 1."


@MODES
async def test_a_cancelled_call_cancels_its_run(tmp_path: Path, mode: str) -> None:
    async with client(tmp_path, mode) as connected:
        async with anyio.create_task_group() as group:
            group.start_soon(ask, connected, "hang")
            await written(tmp_path / "hanging")
            group.cancel_scope.cancel()
        await written(tmp_path / "cancelled")
        assert said(await ask(connected, "count")) == "This is task 1."


async def test_failures_are_told_without_what_is_private(tmp_path: Path) -> None:
    async with client(tmp_path) as connected:
        results = {
            task: await ask(connected, task)
            for task in ("lose", "pay", "explode", "misconfigured", "")
        }
        with pytest.raises(MCPError, match="there is no tool 'other'; there is 'my_helper'"):
            await connected.call_tool("other", {})
    assert said(results["lose"]) == "The tool says: Error: lost the deps"
    assert [result.is_error for result in results.values()] == [False, True, True, True, True]
    assert said(results["pay"]).startswith("the run ended as needs_approval (run ")
    assert said(results["pay"]).endswith("a person has to approve the call of pay first")
    assert said(results[""]).startswith("the arguments do not fit: task: ")
    for result in results.values():
        assert "/home" not in said(result)
        assert "Traceback" not in said(result)


async def test_nothing_may_be_the_answer() -> None:
    agent = Agent(ScriptedBackend(["null"]), name="maybe", planning="off", output_type=int | None)
    async with Client(Offer(agent, description=None, deps=None).server()) as connected:
        result = await connected.call_tool("maybe", {"task": "x"})
    assert (result.is_error, said(result)) == (False, "null")


async def test_our_own_client(tmp_path: Path) -> None:
    events: list[object] = []
    server = MCPServer.stdio(sys.executable, "-m", MODULE, "stdio", str(tmp_path), cwd=ROOT)
    async with server.opened() as tools:
        outcome = await call(tools, "my_helper", progress=events, task="shout")
        assert outcome.text == "The tool says: HELLO"
        assert await text(tools, "my_helper", task="pay", session="s") == (
            "Error: the run ended as needs_approval (run s): a person has to approve the call of "
            "pay first"
        )
    assert isinstance(events[0], MCPProgress)


def started(state: Path) -> subprocess.Popen[bytes]:
    """The offered agent, with a run of it that hangs."""
    process = subprocess.Popen(
        [sys.executable, "-m", MODULE, "stdio", str(state)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    for message in (
        '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",'
        '"capabilities":{},"clientInfo":{"name":"test","version":"1"}}}',
        '{"jsonrpc":"2.0","method":"notifications/initialized"}',
        '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"my_helper",'
        '"arguments":{"task":"hang"}}}',
    ):
        process.stdin.write(message.encode() + b"\n")
    process.stdin.flush()
    return process


async def test_it_ends_with_its_stdin(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        await written(tmp_path / "hanging")
        _, stderr = process.communicate(timeout=GUARD)
    await written(tmp_path / "cancelled")
    assert (process.returncode, stderr) == (0, b"")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_cancels_the_runs_and_ends_it(tmp_path: Path, number: int) -> None:
    with started(tmp_path) as process:
        await written(tmp_path / "hanging")
        process.send_signal(number)
        process.wait(GUARD)
        assert process.stderr is not None
        assert process.stderr.read() == b""
    await written(tmp_path / "cancelled")
    assert process.returncode == -number
