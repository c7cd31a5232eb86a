"""What the tests of the loop share: texts of a model, a stalling one, a run read as events."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio

from ling_agent import Agent, RunResult
from ling_agent.backends import Backend, Chunk, ModelInfo, ModelRequest, TextChunk
from ling_agent.events import Event
from ling_agent.messages import ToolMessage

GUARD = 20.0
"""Seconds after which a test that waits for an event has failed; it never decides otherwise."""


class StallingBackend(Backend):
    """A model that writes a text and then nothing more, without ending; cancelling is the only way.

    Attributes:
        stalled: Set when the text was read.
        left: Whether the stream was left again.
    """

    def __init__(self, text: str = "") -> None:
        self._text = text
        self.stalled = anyio.Event()
        self.left = False

    @property
    def name(self) -> str:
        return "stalling"

    async def describe(self) -> ModelInfo:
        return ModelInfo("stalling")

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Chunk], None]:
        try:
            async with aclosing(self._chunks()) as chunks:
                yield chunks
        finally:
            self.left = True

    async def _chunks(self) -> AsyncGenerator[Chunk, None]:
        yield TextChunk(self._text)
        self.stalled.set()
        await anyio.sleep_forever()


def call(name: str, **arguments: Any) -> str:
    """A call as a model writes it."""
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def calls(*texts: str) -> str:
    """Several calls in one message."""
    return "\n".join(texts)


async def stream(agent: Agent, task: str = "task", **options: Any) -> tuple[list[Event], RunResult]:
    """Read a streamed run to its end."""
    events: list[Event] = []
    with anyio.fail_after(GUARD):
        async with agent.stream(task, **options) as run:
            events.extend([event async for event in run])
    return events, run.result


def kinds(result: RunResult) -> list[str]:
    """What is in the trajectory, in order."""
    return [entry.kind for entry in result.trajectory]


def observations(result: RunResult) -> list[str]:
    """All observations, in the order in which the model reads them."""
    messages = result.trajectory.messages()
    return [message.content for message in messages if isinstance(message, ToolMessage)]
