"""`ScriptedBackend`: replays texts as if a model had written them.

The texts are raw model output in the Hermes format; everything after the backend (parser, loop,
tools) is the real thing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import anyio

from ..backends.base import (
    Backend,
    Chunk,
    Finished,
    FinishReason,
    ModelInfo,
    ModelRequest,
    TextChunk,
)
from ..errors import ConfigurationError, ContextOverflow
from ..hermes import render
from ..messages import to_openai
from ..profiles import CHATML, Profile
from ..results import Usage


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the model.

    Attributes:
        text: Raw model output.
        finish_reason: ``length`` says that it was cut.
        usage: What it cost, as one request; None counts words.
        delay: Seconds before each chunk.
        chunk_size: Characters a chunk; None sends the text whole.
    """

    text: str
    finish_reason: FinishReason = "stop"
    usage: Usage | None = None
    delay: float = 0.0
    chunk_size: int | None = None


Scripted = str | Reply | Exception | Callable[[ModelRequest], "str | Reply"]


class ScriptedBackend(Backend):
    """A model that answers as it was told.

    Args:
        replies: In order: texts, `Reply` objects, exceptions to raise, or functions of the request.
        chunk_size: Characters a chunk for plain texts; None sends each whole.
        context_window: What `describe` says; a prompt of more words is refused as a real model's
            would be, and uses no reply.
        profile: What `describe` says.
        parameters: What `describe` says.
        renders_prompts: True makes the loop keep raw texts and send prefills; replies are what
            comes after the prefill.
        weigh: Gives the log-probabilities that `ModelRequest.weigh` asks for; such a request uses
            no reply. None: it is not known how likely a word is.

    Attributes:
        requests: Every request that was made.
    """

    def __init__(
        self,
        replies: Iterable[Scripted],
        *,
        chunk_size: int | None = None,
        context_window: int | None = 32768,
        profile: Profile = CHATML,
        parameters: int | None = None,
        renders_prompts: bool = False,
        weigh: Callable[[ModelRequest], Sequence[float]] | None = None,
    ) -> None:
        if isinstance(replies, str):  # which is an iterable of texts, of one character each
            raise ConfigurationError("replies: give a list of texts, not one text")
        self._replies: Iterator[Scripted] = iter(replies)
        self._chunk_size = chunk_size
        self._info = ModelInfo("scripted", context_window, profile, parameters=parameters)
        self.renders_prompts = renders_prompts
        self._weigh = weigh
        self.requests: list[ModelRequest] = []

    @property
    def name(self) -> str:
        return "scripted"

    async def describe(self) -> ModelInfo:
        return self._info

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Chunk], None]:
        self.requests.append(request)
        words = self._words(request)
        if request.weigh:
            weights = () if self._weigh is None else tuple(self._weigh(request))
            yield _finished(
                Finished("stop", Usage(requests=1, prompt_tokens=words), weights=weights)
            )
            return
        try:
            scripted = next(self._replies)
        except StopIteration:
            raise AssertionError(
                f"ScriptedBackend has no reply for request {len(self.requests)}"
            ) from None
        if isinstance(scripted, Exception):
            raise scripted
        reply = scripted if isinstance(scripted, str | Reply) else scripted(request)
        if isinstance(reply, str):
            reply = Reply(reply, chunk_size=self._chunk_size)
        async with aclosing(self._play(reply, request, words)) as chunks:
            yield chunks

    async def _play(
        self, reply: Reply, request: ModelRequest, words: int
    ) -> AsyncGenerator[Chunk, None]:
        if request.prefill:
            yield TextChunk(request.prefill)
        size = reply.chunk_size or max(len(reply.text), 1)
        for start in range(0, len(reply.text), size):
            await anyio.sleep(reply.delay)
            piece = reply.text[start : start + size]
            yield TextChunk(piece)
            if request.stop_when is not None and request.stop_when(piece):
                break
        usage = reply.usage or Usage(prompt_tokens=words, completion_tokens=len(reply.text.split()))
        yield Finished(reply.finish_reason, dataclasses.replace(usage, requests=1))

    def _words(self, request: ModelRequest) -> int:
        """Size of the prompt, which stands for its tokens.

        Raises:
            ContextOverflow: It is larger than the context window.
        """
        words, window = len(self.prompt(request).split()), self._info.context_window
        if window is not None and words > window:
            raise ContextOverflow(
                f"the prompt has {words:,} words and the scripted context window {window:,}: "
                "shorten the task, or pass a larger context_window",
                prompt_tokens=words,
                context_window=window,
            )
        return words

    def prompt(self, request: ModelRequest) -> str:
        """The prompt that a real backend would send for this request."""
        messages = [to_openai(message) for message in request.messages]
        return render(messages, request.tools or None, template=self._info.profile.template)

    def assert_exhausted(self) -> None:
        """Fail unless every reply was used."""
        left = list(self._replies)
        self._replies = iter(left)  # asking does not use them
        assert not left, f"{len(left)} scripted replies were not used"


async def _finished(chunk: Finished) -> AsyncGenerator[Chunk, None]:
    yield chunk
