"""`RecordingBackend`: a backend that keeps what went to the model and what came back.

One is made for each case: cases that run at the same time share the model, but no record.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from ..backends.base import (
    Backend,
    Chunk,
    Finished,
    ModelInfo,
    ModelRequest,
    ReasoningChunk,
    TextChunk,
)
from ..hermes import HermesError, render
from ..messages import to_openai


@dataclass(slots=True)
class Exchange:
    """One request and its answer.

    Attributes:
        prompt: What was sent: the prompt text of a backend that renders it, up to the end of what
            is prefilled; of others messages and tools as JSON.
        text: What the model wrote, a prefill included, as it came; reasoning that a server has
            taken out of it stands in front, between ``<think>`` tags.
        finish_reason: Empty when the answer was left in the middle.
    """

    prompt: str
    text: str = ""
    finish_reason: str = ""


@dataclass(slots=True)
class _Answer:
    reasoning: list[str] = field(default_factory=list[str])
    content: list[str] = field(default_factory=list[str])

    def text(self) -> str:
        thought = f"<think>{''.join(self.reasoning)}</think>" if self.reasoning else ""
        return thought + "".join(self.content)


class RecordingBackend(Backend):
    """Passes everything on to another backend, which stays the caller's to close.

    Args:
        backend: Is asked.

    Attributes:
        exchanges: What was asked, in order.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.exchanges: list[Exchange] = []

    @property
    def name(self) -> str:
        return self._backend.name

    @property
    def renders_prompts(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._backend.renders_prompts

    async def prepare(self) -> None:
        await self._backend.prepare()

    async def describe(self) -> ModelInfo:
        return await self._backend.describe()

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Chunk], None]:
        exchange = Exchange(await self._prompt(request))
        self.exchanges.append(exchange)
        answer = _Answer()

        async def recorded(chunks: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
            async for chunk in chunks:
                match chunk:
                    case TextChunk(text):
                        answer.content.append(text)
                    case ReasoningChunk(text):
                        answer.reasoning.append(text)
                    case Finished(finish_reason):
                        exchange.finish_reason = finish_reason
                    case _:
                        pass
                yield chunk

        try:
            async with self._backend.stream(request) as chunks:
                yield recorded(chunks)
        finally:
            exchange.text = answer.text()

    def tool_notes(self, tools: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
        return self._backend.tool_notes(tools)

    async def count_tokens(self, text: str) -> int | None:
        return await self._backend.count_tokens(text)

    async def _prompt(self, request: ModelRequest) -> str:
        messages = [to_openai(message) for message in request.messages]
        if self.renders_prompts:
            template = (await self._backend.describe()).profile.template
            try:
                prompt = render(messages, list(request.tools) or None, template=template)
                return prompt + request.prefill
            except HermesError:  # the backend will say it; a record does not get in its way
                pass
        sent = {"messages": messages, "tools": list(request.tools)}
        return json.dumps(sent, ensure_ascii=False)
