"""`PacedBackend`: a scripted model that writes on when it is told to, so that no clock decides."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

import anyio

from ling_agent.backends import Backend, Chunk, ModelInfo, ModelRequest, TextChunk
from ling_agent.backends.base import Finished
from ling_agent.profiles import CHATML
from ling_agent.results import Usage
from ling_agent.testing import ScriptedBackend

from .helpers import GUARD

Piece = str | Chunk | BaseException | Callable[[], "Awaitable[object] | object"]
"""A text or a chunk that is sent, an error that is raised, or what is done before the next one."""


class PacedBackend(Backend):
    """Writes the pieces of one message after the other.

    Args:
        messages: The pieces of each; what is behind the prefill, where there is one.
        renders_prompts: As `ScriptedBackend` has it.
        parameters: Of the model.
        usage: What each message costs.

    Attributes:
        requests: Every request that was made.
        left: How many of their streams were left again.
    """

    def __init__(
        self,
        *messages: Sequence[Piece],
        renders_prompts: bool = False,
        parameters: int | None = None,
        usage: Usage | None = None,
    ) -> None:
        self._messages = iter(messages)
        self._info = ModelInfo("paced", 32768, CHATML, parameters=parameters)
        self._usage = usage or Usage(prompt_tokens=10, completion_tokens=5)
        self.renders_prompts = renders_prompts
        self.requests: list[ModelRequest] = []
        self.left = 0

    @property
    def name(self) -> str:
        return "paced"

    async def describe(self) -> ModelInfo:
        return self._info

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Chunk], None]:
        self.requests.append(request)
        try:
            async with aclosing(self._chunks(request, next(self._messages))) as chunks:
                yield chunks
        finally:
            self.left += 1

    async def _chunks(
        self, request: ModelRequest, pieces: Sequence[Piece]
    ) -> AsyncGenerator[Chunk, None]:
        if request.prefill:
            yield TextChunk(request.prefill)
        for piece in pieces:
            if isinstance(piece, str):
                yield TextChunk(piece)
                if request.stop_when is not None and request.stop_when(piece):
                    break
            elif isinstance(piece, BaseException):
                raise piece
            elif callable(piece):
                done = piece()
                if inspect.isawaitable(done):
                    await done
            else:
                yield piece
        yield Finished("stop", self._usage)

    def prompts(self) -> list[str]:
        """The prompts that a real backend would have sent."""
        render = ScriptedBackend([])
        return [render.prompt(request) for request in self.requests]


def until(event: anyio.Event) -> Callable[[], Awaitable[None]]:
    """The model waits for an event; a test in which it never comes has failed."""

    async def wait() -> None:
        with anyio.fail_after(GUARD):
            await event.wait()

    return wait


async def forever() -> None:
    """The model writes no more, and does not end either."""
    await anyio.sleep_forever()
