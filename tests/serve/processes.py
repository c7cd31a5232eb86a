"""Real ``ling-agent serve`` processes with scripted agents, and what they leave behind."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import httpx2

import ling_agent

from ..helpers import GUARD

ROOT = Path(ling_agent.__file__).parents[1]

MODULE = '''
import itertools, os, time
from pathlib import Path
from ling_agent import Agent, BackendUnavailable, Memory, RunContext, tool
from ling_agent.memory import SQLiteStore
from ling_agent.testing import ScriptedBackend
from ling_agent.testing.scripted import Reply

CALL = 'I add.\\n<tool_call>\\n{"name": "add", "arguments": {"a": 1, "b": 2}}\\n</tool_call>'

def call(name):
    return '<tool_call>\\n{"name": "%s", "arguments": {}}\\n</tool_call>' % name

@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b

@tool(requires_approval=True)
def buy() -> str:
    """Buy."""
    return "bought"

@tool
def hold(ctx: RunContext[None]) -> str:
    """Hold a thread until the run is cancelled."""
    Path("holds").touch()
    while not ctx.cancelled:
        time.sleep(0.01)
    return "held"

def forever(*script):
    return ScriptedBackend(itertools.cycle(script))

def echo(request):
    return " | ".join(message.content for message in request.messages)

def make(name, *script, tools=(add, buy, hold), **options):
    return Agent(forever(*script), tools=tools, planning="off", name=name, **options)

def file():
    return Memory(SQLiteStore("runs.db"))

adder = make("adder", CALL, Reply("The sum is 3 \\u20ac.", chunk_size=3))
echoes = make("echoes", echo, memory=file())
asks = make("asks", call("buy"), lambda r: r.messages[-1].content, memory=file())
endless = make("endless", Reply("word " * 100_000, chunk_size=5, delay=0.02), memory=file())
flood = make("flood", Reply("x" * 50_000_000, chunk_size=100_000))
short = make("short", Reply("one two three", chunk_size=4, delay=0.2), memory=file())
holds = make("holds", call("hold"))
gone = make("gone", BackendUnavailable("no answer from http://10.1.2.3/v1 with key sk-4711"))
'''


class Server:
    """A server process.

    Attributes:
        url: With ``/v1``.
        process: To be ended by whoever wants to see how it does.
    """

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self._log = log
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, self.log
        told = json.loads(line)
        self.url: str = told["url"]
        self.models: list[str] = told["models"]

    @property
    def root(self) -> str:
        return self.url.removesuffix("/v1")

    @property
    def port(self) -> int:
        return int(self.root.rpartition(":")[2])

    @property
    def log(self) -> str:
        """What the process wrote to standard error so far."""
        return self._log.read_text()

    def health(self, **headers: str) -> dict[str, Any]:
        """The counts; the request itself is one connection."""
        with httpx2.Client() as client:
            return client.get(f"{self.root}/health?detail", headers=headers).json()

    def connections(self) -> int:
        """Open sockets of the process, the listening one included."""
        names = [Path(f"/proc/{self.process.pid}/fd") / name for name in self._descriptors()]
        found = 0
        for name in names:
            with contextlib.suppress(OSError):
                found += os.readlink(name).startswith("socket:")
        return found

    def _descriptors(self) -> list[str]:
        return os.listdir(f"/proc/{self.process.pid}/fd")

    def wait_until(self, condition: Any) -> None:
        """Wait for something that has to come true."""
        deadline = time.monotonic() + GUARD
        while not condition():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, "it did not come true"
            time.sleep(0.01)

    def wait_until_idle(self) -> None:
        """Wait until no run is left."""
        self.wait_until(lambda: self.health()["runs"] == 0)


@contextlib.contextmanager
def serving(
    folder: Path, *words: str, environment: dict[str, str] | None = None
) -> Generator[Server, None, None]:
    """A server in a folder, ended afterwards if it has not ended by then."""
    (folder / "served.py").write_text(MODULE)
    log = folder / "log"
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command(*words),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path, **(environment or {})},
        ) as process,
    ):
        try:
            yield Server(process, log)
        finally:
            process.kill()


def command(*words: str) -> Sequence[str]:
    """``ling-agent serve`` on a free port."""
    return [sys.executable, "-m", "ling_agent", "serve", *words, "--port", "0", "--json"]
