"""``ling-agent serve --mcp``: an agent as an MCP tool from the command line, and held sources."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters

from ling_agent import Agent
from ling_agent.cli.main import main
from ling_agent.mcp import MCPServer
from ling_agent.testing import ScriptedBackend

from ..helpers import GUARD
from .support import TRIO_HTTP

pytestmark = pytest.mark.anyio

AGENTS = """
import sys
from ling_agent import Agent
from ling_agent.mcp import MCPServer
from ling_agent.testing import ScriptedBackend

CALL = '<tool_call>\\n{"name": "ticks", "arguments": {}}\\n</tool_call>'
helper = Agent(ScriptedBackend(["It is 5."] * 3), name="adder")
other = Agent(ScriptedBackend([]), name="other")
clock = MCPServer.stdio(sys.executable, "ticking.py")
ticking = Agent(ScriptedBackend([CALL, "a", CALL, "b"]), tools=[clock], name="clock")
"""
TICKING = """
from pathlib import Path
from mcp.server.mcpserver import MCPServer

with Path("started").open("a") as file:
    file.write("x")
server = MCPServer("ticking")

@server.tool()
def ticks() -> str:
    return "tick"

server.run("stdio")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "to_offer.py").write_text(AGENTS)
    (tmp_path / "ticking.py").write_text(TICKING)
    return tmp_path


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "ling_agent", "serve", "--mcp", *words]


async def ask(connected: Client, name: str, task: str = "2 + 3?") -> str:
    result = await connected.call_tool(name, {"task": task})
    return getattr(result.content[0], "text", "")


async def test_stdio(folder: Path) -> None:
    program, *words = command("to_offer:helper")
    server = StdioServerParameters(command=program, args=words, cwd=folder)
    with anyio.fail_after(GUARD):
        async with Client(server) as connected:
            assert await ask(connected, "adder") == "It is 5."


@TRIO_HTTP
async def test_http(folder: Path) -> None:
    words = command("to_offer:helper", "--port", "0")
    with subprocess.Popen(  # noqa: ASYNC220
        words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = await anyio.to_thread.run_sync(process.stdout.readline)
            start, _, url = line.strip().rpartition(" ")
            assert start == "serving adder at"
            with anyio.fail_after(GUARD):
                async with Client(url) as connected:
                    assert await ask(connected, "adder") == "It is 5."
            process.send_signal(signal.SIGTERM)
            assert process.wait(GUARD) in (0, -signal.SIGTERM)
            assert process.stderr is not None
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


async def test_the_agents_own_servers_are_started_once_for_all_its_runs(folder: Path) -> None:
    program, *words = command("to_offer:ticking")
    server = StdioServerParameters(command=program, args=words, cwd=folder)
    with anyio.fail_after(GUARD):
        async with Client(server) as connected:
            assert [await ask(connected, "clock") for _ in range(2)] == ["a", "b"]
    assert (folder / "started").read_text() == "x"


async def test_an_agent_keeps_its_servers_open(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    call = '<tool_call>\n{"name": "ticks", "arguments": {}}\n</tool_call>'
    server = MCPServer.stdio(sys.executable, "ticking.py")
    agent = Agent(
        ScriptedBackend([call, "a", call, "b"]),
        tools=[
            server,
        ],
        planning="off",
    )
    with anyio.fail_after(GUARD):
        async with agent.connected() as connected:
            for answer in ("a", "b"):
                assert (await connected.run("x")).output == answer
    assert (folder / "started").read_text() == "x"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["to_offer:other"], "--mcp offers one agent"),
        (["--max-body", "5"], "--max-body"),
        (["--grace", "1", "--no-events", "--port", "0"], "--grace and --no-events"),
        (["--host", "0.0.0.0"], "--host: only with --port"),
        (["--api-key", "a-key"], "--api-key: only with --port"),
        (["--port", "0", "--host", "0.0.0.0"], "--api-key-file FILE or LING_AGENT_SERVE_KEY"),
        (["--port", "0", "--api-key", ""], "an API key is empty"),
        (["--port", "99999"], "port 99999"),
    ],
)
def test_what_is_refused(
    folder: Path,
    words: list[str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "to_offer", raising=False)
    monkeypatch.delenv("LING_AGENT_SERVE_KEY", raising=False)
    assert main(["serve", "--mcp", "to_offer:helper", *words]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert told.count("\n") == 1
