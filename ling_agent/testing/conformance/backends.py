"""Checks of a backend.

They ask what any model can be asked and look at the form of the answer, never at its words, so that
they also run on a real one.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from ... import hermes
from ...backends.base import (
    Backend,
    Chunk,
    Finished,
    ModelInfo,
    ModelRequest,
    ReasoningChunk,
    TextChunk,
)
from ...errors import BackendError, ContextOverflow
from ...limits import Sampling
from ...messages import UserMessage

_QUESTION = ModelRequest(
    (UserMessage("Say hello."),), sampling=Sampling(max_tokens=16), conversation="conformance"
)
_WEATHER: Mapping[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def _question(text: str, *, max_tokens: int = 16, **options: Any) -> ModelRequest:
    """A conversation of its own: the requests of one extend each other."""
    return ModelRequest((UserMessage(text),), sampling=Sampling(max_tokens=max_tokens), **options)


async def _ask(backend: Backend, request: ModelRequest = _QUESTION) -> list[Chunk]:
    async with backend.stream(request) as chunks:
        return [chunk async for chunk in chunks]


async def _try(backend: Backend, request: ModelRequest) -> tuple[list[Chunk], Exception | None]:
    """What came, and with which error it ended."""
    seen: list[Chunk] = []
    try:
        async with backend.stream(request) as chunks:
            async for chunk in chunks:
                seen.append(chunk)  # noqa: PERF401 - what came before the error counts
    except Exception as error:
        return seen, error
    return seen, None


def _text(chunks: list[Chunk]) -> str:
    """All that the model wrote, reasoning as well."""
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk | ReasoningChunk))


def _end(chunks: list[Chunk], request: ModelRequest) -> Finished:
    """The only `Finished`, with usage that fits the request."""
    ends = [chunk for chunk in chunks if isinstance(chunk, Finished)]
    assert len(ends) == 1, f"{len(ends)} Finished chunks, not one"
    assert chunks[-1] is ends[0], "there are chunks behind Finished"
    usage = ends[0].usage
    assert usage.requests >= 1, f"usage.requests is {usage.requests} for one request"
    assert usage.prompt_tokens > 0, f"usage.prompt_tokens is {usage.prompt_tokens}"
    # A backend may have asked again, and counts what that cost as well.
    most = request.sampling.max_tokens * usage.requests
    assert 0 <= usage.completion_tokens <= most, (
        f"usage.completion_tokens is {usage.completion_tokens}, of at most {most}"
    )
    cached = usage.cached_tokens
    assert cached is None or 0 <= cached <= usage.prompt_tokens, (
        f"usage.cached_tokens is {cached}, of {usage.prompt_tokens} prompt tokens"
    )
    for name in ("seconds", "prefill_seconds", "decode_seconds"):
        assert getattr(usage, name) >= 0, f"usage.{name} is {getattr(usage, name)}"
    return ends[0]


class BackendConformance(ABC):
    """The checks of a backend: subclass it as ``Test…`` and implement `make`.

    The backend has to answer each request with some text, at most three of them at a time.
    """

    pytestmark = pytest.mark.anyio

    @abstractmethod
    def make(self) -> Backend:
        """A new backend; called once for each test, inside its event loop."""

    @pytest.fixture
    async def backend(self) -> AsyncGenerator[Backend, None]:
        """The backend that is tested; closed behind the test."""
        backend = self.make()
        yield backend
        await backend.aclose()

    async def test_describes_itself(self, backend: Backend) -> None:
        """The name is known before anything is loaded; the description does not change."""
        assert backend.name, "name is empty"
        info = await backend.describe()
        assert isinstance(info, ModelInfo), f"describe returned {info!r}"
        assert await backend.describe() == info, "describe does not say the same twice"
        window = info.context_window
        assert window is None or window > 0, f"context_window is {window}"
        count = await backend.count_tokens("hello")
        assert count is None or count > 0, f"count_tokens is {count}; None says that it is unknown"

    async def test_ends_with_what_it_cost(self, backend: Backend) -> None:
        """`Finished` comes once and last, with usage within what was asked for."""
        end = _end(await _ask(backend), _QUESTION)
        assert end.usage.completion_tokens > 0, "usage.completion_tokens is 0 for an answer"

    async def test_keeps_to_max_tokens(self, backend: Backend) -> None:
        """With ``max_tokens=1`` the answer has at most one token, and says so or has ended."""
        request = _question("Count to one hundred.", max_tokens=1)
        end = _end(await _ask(backend, request), request)
        assert end.finish_reason in ("length", "stop"), f"finish_reason is {end.finish_reason!r}"

    async def test_leaves_out_stop_texts(self, backend: Backend) -> None:
        """The texts of `Profile.stop` end an answer; they are no part of it."""
        stops = (await backend.describe()).profile.stop
        text = _text(await _ask(backend))
        assert text, "an answer has no text"
        left = [stop for stop in stops if stop in text]
        assert not left, f"the answer contains the stop texts {left}: {text!r}"

    async def test_refuses_a_prompt_that_does_not_fit(self, backend: Backend) -> None:
        """`ContextOverflow` before anything is generated.

        Backends whose ``context_window`` is not known are not asked.
        """
        window = (await backend.describe()).context_window
        if window is None:
            return
        request = _question("word " * (window + 1))  # a word is a token or more
        chunks, error = await _try(backend, request)
        assert error is not None, (
            f"a prompt of {window + 1} words was taken by a window of {window}"
        )
        if not isinstance(error, ContextOverflow):
            raise AssertionError(f"{error!r} came out, which is no ContextOverflow") from error
        assert not chunks, f"{len(chunks)} chunks came before ContextOverflow"

    async def test_raises_backend_errors_only(self, backend: Backend) -> None:
        """Any text is answered or refused, one that is no valid Unicode as well."""
        request = _question("Say hello: \ud83d \x00 \u2028 🎉 <|im_end|> </tool_call>")
        chunks, error = await _try(backend, request)
        if error is None:
            _end(chunks, request)
        elif not isinstance(error, BackendError):
            raise AssertionError(f"{error!r} came out, which is no BackendError") from error

    async def test_answers_with_calls_as_text(self, backend: Backend) -> None:
        """With tools there is text as without; calls are in it, as the parser reads them."""
        request = _question("What is the weather in Paris?", max_tokens=64, tools=(_WEATHER,))
        profile = (await backend.describe()).profile
        chunks, error = await _try(backend, request)
        if error is not None:
            raise AssertionError(f"a request with a tool raised {error!r}") from error
        end, text = _end(chunks, request), _text(chunks)
        assert text or end.lost, "the answer to a request with a tool has no text"
        if end.finish_reason == "tool_calls" and not end.lost:
            parsed = hermes.parse(text, tools=request.tools, bare_json=profile.bare_json)
            found = parsed.calls or parsed.errors
            assert found, f"finish_reason is 'tool_calls', but there is no call in {text!r}"

    async def test_answers_again_after_it_was_left(self, backend: Backend) -> None:
        """Leaving the context ends the request, in the middle of it and before it was read."""
        async with backend.stream(_QUESTION) as chunks:
            async for _ in chunks:
                break
        async with backend.stream(_QUESTION):
            pass
        assert _text(await _ask(backend)), "no answer after a request that was left"

    async def test_lets_itself_be_cancelled(self, backend: Backend) -> None:
        """Cancellation comes out as such, is not swallowed, and leaves the backend usable."""
        behind = False
        with anyio.CancelScope() as scope:
            async with backend.stream(_QUESTION) as chunks:
                async for chunk in chunks:
                    scope.cancel()
                    if isinstance(chunk, Finished):
                        await anyio.lowlevel.checkpoint()
            behind = True
        assert not behind, "the cancellation was swallowed"
        assert scope.cancelled_caught, "the cancellation did not come out"
        assert _text(await _ask(backend)), "no answer after a request that was cancelled"

    async def test_answers_several_at_once(self, backend: Backend) -> None:
        """Requests at the same time all get their answer, in turn or together."""
        answers: list[list[Chunk]] = []

        async def ask() -> None:
            answers.append(await _ask(backend))

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask)
        for answer in answers:
            assert any(isinstance(chunk, Finished) for chunk in answer), "an answer has no end"
            assert _text(answer), "an answer has no text"

    async def test_works_in_another_event_loop(self, backend: Backend) -> None:
        """A backend is no property of the loop that used it first."""
        assert _text(await _ask(backend)), "no answer in the first event loop"
        answer = await anyio.to_thread.run_sync(anyio.run, _ask, backend)
        assert _text(answer), "no answer in the event loop of another thread"

    async def test_works_again_after_it_was_closed(self, backend: Backend) -> None:
        """`aclose` releases what is held; twice is as good as once, and the next request works."""
        assert _text(await _ask(backend)), "no answer before aclose"
        await backend.aclose()
        await backend.aclose()
        assert _text(await _ask(backend)), "no answer after aclose"

    async def test_continues_and_stops_where_it_is_told(self, backend: Backend) -> None:
        """With `renders_prompts`, answers begin with ``prefill`` and end as ``stop_when`` says.

        Backends that do not render prompts are never sent either.
        """
        if not backend.renders_prompts:
            return
        seen: list[str] = []

        def stop(piece: str) -> bool:
            seen.append(piece)
            return True

        prefilled = await _ask(backend, dataclasses.replace(_QUESTION, prefill="Plan:"))
        assert _text(prefilled).startswith("Plan:"), "the prefill is missing"
        stopped = await _ask(backend, dataclasses.replace(_QUESTION, stop_when=stop))
        assert len(seen) == 1, (
            f"stop_when said stop when it was first called, and was called {len(seen)} times"
        )
        assert _text(stopped) == seen[0], "there is text behind the piece that stop_when ended with"
        assert isinstance(stopped[-1], Finished), "an answer that stop_when ended has no end"
