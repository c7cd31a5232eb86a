"""What the tests of MCP share: real servers in processes of their own, and calls of their tools."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from ling_agent import RunContext, Tool
from ling_agent.mcp import MCPServer
from ling_agent.tools import ToolOutcome, Toolset, execute_call

from ..helpers import GUARD

ROOT = Path(__file__).parents[2]
BENCH = "tests.mcp.servers.bench"

TRIO_HTTP = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <async_gen:pytest.PytestUnraisableExceptionWarning"
)
"""For tests over HTTP: the SDK leaves the iterators of a stream that it has read far enough to the
garbage collector, after it has closed the stream; trio tells that."""

Tools = Sequence[Tool[..., Any]]


def bench(state: Path, *flags: str, **options: Any) -> MCPServer:
    """The tests' own server on stdio; flags and ``state`` are told in its module."""
    command = ("-m", BENCH, "--state", str(state), *flags)
    given: dict[str, Any] = {"cwd": ROOT, **options}
    return MCPServer.stdio(sys.executable, *command, **given)


async def call(
    tools: Tools, name: str, /, *, progress: list[object] | None = None, **arguments: Any
) -> ToolOutcome:
    """Call a tool as a run does."""

    def sink(call_id: str, event: object) -> None:
        if progress is not None:
            progress.append(event)

    with anyio.fail_after(GUARD):
        return await execute_call(
            Toolset(tools)[name], "call", arguments, RunContext(None, sink=sink)
        )


async def text(tools: Tools, name: str, /, **arguments: Any) -> str:
    """What the model reads of a call."""
    return (await call(tools, name, **arguments)).text


async def written(path: Path, lines: int = 1) -> list[str]:
    """The lines of a file, once there are that many."""
    with anyio.fail_after(GUARD):
        while True:
            with contextlib.suppress(FileNotFoundError):
                found = path.read_text().splitlines()  # noqa: ASYNC240 - a few bytes
                if len(found) >= lines:
                    return found
            await anyio.sleep(0.01)


async def gone(pid: int) -> None:
    """Wait until there is no such process."""
    with anyio.fail_after(GUARD):
        while is_alive(pid):  # noqa: ASYNC110 - of a process that is not our child
            await anyio.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether the process exists and is more than the remains that its parent has not read."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


class HTTPBench:
    """The tests' own server on a port of 127.0.0.1, which stays the same when it starts again."""

    def __init__(self, state: Path, *flags: str) -> None:
        self.state = state
        self._flags = flags
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of the endpoint."""
        return f"http://127.0.0.1:{self._port}/mcp"

    async def start(self) -> None:
        """Start, and wait until it accepts connections."""
        port_file = self.state / "port"
        port_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", BENCH, "--state", str(self.state), *self._flags]
        self._process = subprocess.Popen(  # noqa: ASYNC220 - ended outside of the event loop
            [*command, "--http", str(port_file), "--port", str(self._port)],
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
        )
        self._port = int((await written(port_file))[0])

    def kill(self) -> None:
        """End at once, as a crash does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End in an orderly way."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(GUARD)
            self._process = None


@contextlib.contextmanager
def http_bench(state: Path, *flags: str) -> Generator[HTTPBench, None, None]:
    """A server to start; it does not outlive the block."""
    server = HTTPBench(state, *flags)
    try:
        yield server
    finally:
        server.kill()
