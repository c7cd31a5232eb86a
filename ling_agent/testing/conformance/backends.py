"""Checks of a backend.

They ask what any model can be asked and look at the form of the answer, never at its words, so that
they also run on a real one. It must answer each request, at most three at a time, with some text.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import anyio.to_thread

from ...backends.base import Backend, Chunk, Finished, ModelInfo, ModelRequest, TextChunk
from ...limits import Sampling
from ...messages import UserMessage

MakeBackend = Callable[[], Backend]
BackendCheck = Callable[[MakeBackend], Awaitable[None]]

_QUESTION = ModelRequest(
    (UserMessage("Say hello."),), sampling=Sampling(max_tokens=16), conversation="conformance"
)


async def _ask(backend: Backend, request: ModelRequest = _QUESTION) -> list[Chunk]:
    async with backend.stream(request) as chunks:
        return [chunk async for chunk in chunks]


def _text(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk))


async def describes_itself(make: MakeBackend) -> None:
    """The name is known before anything is loaded; the description does not change."""
    backend = make()
    assert backend.name, "name is empty"
    info = await backend.describe()
    assert isinstance(info, ModelInfo), f"describe returned {info!r}"
    assert await backend.describe() == info, "describe does not say the same twice"
    window = info.context_window
    assert window is None or window > 0, f"context_window is {window}"
    count = await backend.count_tokens("hello")
    assert count is None or count > 0, f"count_tokens is {count}; None says that it is not known"


async def ends_with_what_it_cost(make: MakeBackend) -> None:
    """`Finished` comes once and last, with one request's usage within what was asked for."""
    chunks = await _ask(make())
    ends = [chunk for chunk in chunks if isinstance(chunk, Finished)]
    assert len(ends) == 1, f"{len(ends)} Finished chunks, not one"
    assert chunks[-1] is ends[0], "there are chunks behind Finished"
    usage = ends[0].usage
    assert usage.requests == 1, f"usage.requests is {usage.requests} for one request"
    assert usage.prompt_tokens > 0, "usage.prompt_tokens is missing"
    assert 0 < usage.completion_tokens <= _QUESTION.sampling.max_tokens, (
        f"usage.completion_tokens is {usage.completion_tokens}, "
        f"of at most {_QUESTION.sampling.max_tokens}"
    )
    assert usage.cached_tokens is None or usage.cached_tokens <= usage.prompt_tokens


async def answers_again_after_it_was_left(make: MakeBackend) -> None:
    """Leaving the context ends the request, in the middle of it and before it was read."""
    backend = make()
    async with backend.stream(_QUESTION) as chunks:
        async for _ in chunks:
            break
    async with backend.stream(_QUESTION):
        pass
    assert _text(await _ask(backend)), "no answer after a request that was left"


async def lets_itself_be_cancelled(make: MakeBackend) -> None:
    """Cancellation comes out as such, is not swallowed, and leaves the backend usable."""
    backend = make()
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


async def answers_several_at_once(make: MakeBackend) -> None:
    """Requests at the same time all get their answer, in turn or together."""
    backend = make()
    answers: list[list[Chunk]] = []

    async def ask() -> None:
        answers.append(await _ask(backend))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask)
    for answer in answers:
        assert any(isinstance(chunk, Finished) for chunk in answer), "an answer is not finished"
        assert _text(answer), "an answer has no text"


async def works_in_another_event_loop(make: MakeBackend) -> None:
    """A backend is no property of the loop that used it first."""
    backend = make()
    assert _text(await _ask(backend))
    answer = await anyio.to_thread.run_sync(anyio.run, _ask, backend)
    assert _text(answer), "no answer in the event loop of another thread"


async def works_again_after_it_was_closed(make: MakeBackend) -> None:
    """`aclose` releases what is held; twice is as good as once, and the next request works."""
    backend = make()
    assert _text(await _ask(backend))
    await backend.aclose()
    await backend.aclose()
    assert _text(await _ask(backend)), "no answer after aclose"
    await backend.aclose()


async def continues_and_stops_where_it_is_told(make: MakeBackend) -> None:
    """With `renders_prompts`, the answer begins with ``prefill`` and ends when ``stop_when`` says.

    Backends that do not render prompts are never sent either.
    """
    backend = make()
    if not backend.renders_prompts:
        return
    seen: list[str] = []

    def stop(piece: str) -> bool:
        seen.append(piece)
        return True

    prefilled = ModelRequest(_QUESTION.messages, sampling=_QUESTION.sampling, prefill="Plan:")
    assert _text(await _ask(backend, prefilled)).startswith("Plan:"), "the prefill is missing"
    stopped = ModelRequest(_QUESTION.messages, sampling=_QUESTION.sampling, stop_when=stop)
    chunks = await _ask(backend, stopped)
    assert len(seen) == 1, f"stop_when was called {len(seen)} times although it said stop"
    assert _text(chunks) == seen[0], "there is text behind the piece that stop_when ended with"
    assert isinstance(chunks[-1], Finished)


BACKEND_CHECKS: tuple[BackendCheck, ...] = (
    describes_itself,
    ends_with_what_it_cost,
    answers_again_after_it_was_left,
    lets_itself_be_cancelled,
    answers_several_at_once,
    works_in_another_event_loop,
    works_again_after_it_was_closed,
    continues_and_stops_where_it_is_told,
)
