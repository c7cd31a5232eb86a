"""An agent that is offered over MCP: ``python -m tests.mcp.servers.offered MODE [STATE]``.

MODE is ``stdio`` or ``http``. What the agent's scripted model does is up to the task. With ``http``
the endpoint's URL is written to the file ``url`` in the folder STATE.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import anyio

from ling_agent import Agent, ConfigurationError, RunContext, ToolError, tool
from ling_agent.backends import ModelRequest
from ling_agent.mcp.offering import run_stdio, serve_http
from ling_agent.memory import InMemoryStore, Memory
from ling_agent.messages import ToolMessage, UserMessage
from ling_agent.testing import ScriptedBackend

STATE = Path(sys.argv[2] if len(sys.argv) > 2 else ".")
SECRET = "/home/somebody/secret.txt"


@tool
def shout(word: str) -> str:
    """Shout on stdout, past Python too."""
    print("NOISE")
    os.write(1, b"MORE NOISE\n")
    subprocess.run(["echo", "NOISE OF A CHILD"], check=True)
    return word.upper()


@tool
async def hang() -> str:
    """Hang."""
    (STATE / "hanging").write_text("yes\n")
    try:
        await anyio.sleep_forever()
    finally:
        (STATE / "cancelled").write_text("yes\n")
    return ""


@tool
def lose(ctx: RunContext[str]) -> str:
    """Fail."""
    raise ToolError(f"lost {ctx.deps}")


@tool(requires_approval=True)
def pay() -> str:
    """Pay."""
    return "paid"


def reply(request: ModelRequest) -> str:
    """What the model says: a call of the tool that the task names, then its observation."""
    last = request.messages[-1]
    if isinstance(last, ToolMessage):
        return f"The tool says: {last.content}"
    tasks = [message.content for message in request.messages if isinstance(message, UserMessage)]
    task = str(tasks[-1]).split("\n")[0]
    if task == "explode":
        raise RuntimeError(f"cannot read {SECRET}")
    if task == "misconfigured":
        raise ConfigurationError(f"no such file: {SECRET}")
    if task == "count":
        return f"This is task {len(tasks)}."
    arguments = '{"word": "hello"}' if task == "shout" else "{}"
    return f'<tool_call>\n{{"name": "{task}", "arguments": {arguments}}}\n</tool_call>'


agent = Agent(
    ScriptedBackend(itertools.repeat(reply)),
    tools=[shout, hang, lose, pay],
    planning="off",
    name="my helper",
    memory=Memory(InMemoryStore()),
)


def announce(url: str) -> None:
    """Tell the test where the endpoint is."""
    (STATE / "url.partial").write_text(url)
    (STATE / "url.partial").rename(STATE / "url")


async def main() -> None:
    """Serve over HTTP."""
    await serve_http(agent, port=0, api_keys=sys.argv[3:], deps="the deps", ready=announce)


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        sys.exit(run_stdio(agent, deps="the deps"))
    anyio.run(main)
