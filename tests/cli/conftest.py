"""Agents whose runs are kept in the file ``runs.db`` of the working directory."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ling_agent.backends import Backend
from ling_agent.testing import ScriptedBackend

MODULE = '''
import sys, time
from pathlib import Path
from ling_agent import Agent, BackendUnavailable, Limits, Memory, tool
from ling_agent.memory import SQLiteStore
from ling_agent.testing import ScriptedBackend

CALL = 'I add.\\n<tool_call>\\n{"name": "add", "arguments": {"a": 1, "b": 2}}\\n</tool_call>'

@tool
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return f"{a + b} \\x1b[31m[bold]" + " word" * 200

@tool(idempotent=True)
async def wait() -> str:
    """Wait."""
    import anyio
    Path("waits").touch()
    await anyio.sleep(60)
    return "waited"

@tool(requires_approval=True)
def buy() -> str:
    """Buy."""
    return "bought"

def call(name):
    return '<tool_call>\\n{"name": "%s", "arguments": {}}\\n</tool_call>' % name

def make(*script, tools=(add,), **options):
    memory = Memory(SQLiteStore("runs.db"))
    return Agent(ScriptedBackend(script), tools=tools, planning="off", memory=memory, **options)

good = make(CALL, "The sum is 3.")
limited = make(CALL, limits=Limits(max_steps=1), instructions="Be brief.")
rest = make("The sum is 3.", lambda request: f"{len(request.messages)} messages")
steps = make(CALL, CALL.replace("1", "5"), "done")
wide = make(*["It costs 1 \\u20ac \\x1b[2J."] * 3)
gone = make(CALL, BackendUnavailable("the server went away"))
unreachable = make(BackendUnavailable("no server"))
asks = make(call("buy"), tools=[buy])
asks_in_process = Agent(ScriptedBackend([call("buy")]), tools=[buy], planning="off")

@tool(name="buy", requires_approval=True)
def buy_item(item: str) -> str:
    """Buy."""
    return f"bought {item}"

def results(request):
    return "|".join(m.content for m in request.messages if hasattr(m, "call_id"))

asks_for = make(
    "".join(call("buy").replace("{}", '{"item": "%s"}' % item) for item in "ab"), tools=[buy_item]
)
says = make(results, tools=[buy_item])
asks_rest = make("It is bought.", tools=[buy])
waits = make(call("wait"), tools=[wait])
reads = make(lambda request: request.messages[0].content)
in_process = Agent(ScriptedBackend(["Hello."]))
'''


@pytest.fixture
def kept_agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module ``kept_agents`` in the working directory, imported afresh by each test."""
    (tmp_path / "kept_agents.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "kept_agents", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Options for an agent whose server answers as the script says, which replaces `--agent`."""

    def answers(*script: Any) -> list[str]:
        def opened(spec: object, **_: object) -> Backend:
            return spec if isinstance(spec, Backend) else ScriptedBackend(script)

        monkeypatch.setattr("ling_agent.configuration.open_backend", opened)
        tools = ["--tools", "kept_agents:add", "--planning", "off"]
        return ["--backend", "vllm:http://127.0.0.1:9", *tools]

    return answers
