"""What the server process serves: an agent whose model writes by the clock.

The task names the schedule: a seed, the number of pieces and the gap between them. Piece ``i`` is
due ``i`` gaps after the first; the backend waits until then, whatever became of the piece before,
so a server that falls behind does not slow its own load down. The first piece tells when it was
due, by the clock that all processes of a machine share.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import anyio

from ling_agent import Agent, tool
from ling_agent.backends import Backend, Chunk, ModelInfo, ModelRequest, TextChunk
from ling_agent.backends.base import Finished
from ling_agent.messages import ToolMessage
from ling_agent.results import Usage

_CALL = '<tool_call>\n{"name": "look", "arguments": {"number": %d}}\n</tool_call>'
_ALPHABET = 'abcdefghij "\\\n>{}é€日'  # no "<": the parser holds what may begin a tag


def pieces(seed: int, count: int) -> list[str]:
    """The pieces of an answer behind the first: words with what JSON, tags and UTF-8 make hard."""
    chosen = random.Random(seed)
    return [f"{''.join(chosen.choices(_ALPHABET, k=8))}{number}." for number in range(1, count)]


class ScheduledBackend(Backend):
    """Calls a tool, then writes its pieces when they are due."""

    @property
    def name(self) -> str:
        return "scheduled"

    async def describe(self) -> ModelInfo:
        return ModelInfo("scheduled", 32768)

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Chunk], None]:
        async with aclosing(self._play(request)) as chunks:
            yield chunks

    async def _play(self, request: ModelRequest) -> AsyncGenerator[Chunk, None]:
        task = next(m.content for m in request.messages if m.content.startswith("schedule "))
        seed, count, gap = (float(word) for word in task.split()[1:])
        if not isinstance(request.messages[-1], ToolMessage):
            yield TextChunk(_CALL % int(seed))
        else:
            start = time.monotonic() + gap
            texts = [f"{start:.6f};", *pieces(int(seed), int(count))]
            for number, text in enumerate(texts):
                await anyio.sleep(max(0.0, start + number * gap - time.monotonic()))
                yield TextChunk(text)
        yield Finished("stop", Usage(prompt_tokens=10, completion_tokens=10, requests=1))


@tool
async def look(number: int) -> str:
    """Look something up."""
    return f"seen {number}"


agent = Agent(ScheduledBackend(), tools=[look], planning="off", name="scheduled")
