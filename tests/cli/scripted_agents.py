"""Agents for tests in a terminal; copied into the working directory of the process."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from ling_agent import Agent, Limits, Memory, RunContext, tool
from ling_agent.backends import Chunk, ModelRequest
from ling_agent.memory import SQLiteStore
from ling_agent.messages import UserMessage
from ling_agent.testing import Reply, ScriptedBackend


def call(name: str, **arguments: Any) -> str:
    """A call as a model writes it."""
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def mark(file: str) -> None:
    """Tell the test something by a file."""
    Path(file).touch()


@tool
def patient(ctx: RunContext[None]) -> str:
    """Wait in a thread for the file `release`."""
    mark("runs")
    while not Path("release").exists():
        if ctx.cancelled:
            mark("told")
            return "cancelled"
        time.sleep(0.01)
    return "it was released"


@tool
def deaf() -> str:
    """Wait in a thread, whatever happens."""
    mark("runs")
    time.sleep(600)
    return "never"


@tool
async def blocking() -> str:
    """Block the event loop, whatever happens."""
    mark("runs")
    end = time.monotonic() + 600
    while time.monotonic() < end:
        time.sleep(1)  # noqa: ASYNC251  # that is the fault which it stands for
    return "never"


@tool(requires_approval=True)
async def buy(item: str, count: int = 1) -> str:
    """Buy something.

    Args:
        item: What.
        count: How many.
    """
    return f"bought {count} {item}"


@tool
async def look(ctx: RunContext[None], item: str) -> str:
    """Look for something."""
    ctx.emit(f"looking for {item}")
    return f"{item} found"


ENDLESS = Reply("and so on " * 100_000, delay=0.01, chunk_size=10)


def said(request: Any) -> str:
    """What the model has been told so far."""
    return "I read: " + " | ".join(message.content for message in request.messages)


def heard(request: Any) -> str:
    """The newest message, in brackets."""
    return f"[{request.messages[-1].content}]"


class Mute(ScriptedBackend):
    """Says nothing to ``hello``, however often it is asked."""

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Chunk], None]:
        if request.messages[-1] == UserMessage("hello"):
            await anyio.sleep_forever()
        async with super().stream(request) as chunks:
            yield chunks


def make(*script: Any, **options: Any) -> Agent:
    """An agent of that script."""
    tools = [patient, deaf, blocking, buy, look]
    return Agent(ScriptedBackend(script), tools=tools, planning="off", **options)


endless = make(ENDLESS, said)
silent = Agent(Mute([said]), planning="off")
thread = make(call("patient"), said, said)
deaf_tool = make(call("deaf"), said)
blocked = make(call("blocking"), said)
kept_blocked = make(call("blocking"), said, memory=Memory(SQLiteStore("runs.db")))
echo = make(*[heard] * 9)
buys = make(call("buy", item="a\u202egpu\x1b[2J"), said, call("buy", item="b"), said)
buys_twice = make(call("buy", item="a") + "\n" + call("buy", item="b"), said)
kept_buys = make(call("buy", item="a"), said, memory=Memory(SQLiteStore("runs.db")))
kept_rest = make(said, memory=Memory(SQLiteStore("runs.db")))
looks = make("I look.\n" + call("look", item="gpu " * 9), "It is here. " * 9, "Once more: 1 €.")
typed_ahead = make(call("patient"), call("buy", item="a"), said)
buyer = make(call("buy", item="a"), "It is bought.", name="buyer")
boss = Agent(
    ScriptedBackend([call("buyer", task="buy it"), said]), tools=[buyer.as_tool()], planning="off"
)
buys_last = make(call("buy", item="a"), said, limits=Limits(max_steps=1))
