"""llama-server says how far it is with a long prompt; its answers here are as documented."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import anyio
import pytest

from ling_agent import Sampling
from ling_agent.backends import Chunk, OpenAIBackend, Timeouts, VLLMBackend
from ling_agent.backends.base import Finished, ModelRequest, PrefillChunk, TextChunk
from ling_agent.backends.remote.progress import Progress, is_progress
from ling_agent.errors import BackendUnavailable
from ling_agent.messages import UserMessage

from .hostile import Exchange, Handler, delta, events, hostile, text_reply, usage

pytestmark = pytest.mark.anyio

REQUEST = ModelRequest((UserMessage("Hi."),), sampling=Sampling(max_tokens=8))
ROUTES: dict[str, object] = {
    "/v1/models": {"data": [{"id": "m", "owned_by": "llamacpp"}]},
    "/props": {"default_generation_settings": {"n_ctx": 8192}},
}


def told(done: int, total: int = 100, cache: int = 0, **delta_fields: Any) -> dict[str, Any]:
    progress = {"total": total, "cache": cache, "processed": done, "time_ms": 5}
    return {**delta(**(delta_fields or {"role": "assistant", "content": None}))} | {
        "prompt_progress": progress
    }


async def ask(
    *handlers: Handler,
    mode: Any = "chat",
    stream: bool = True,
    watched: bool = True,
    **options: Any,
) -> tuple[list[Chunk], Any]:
    request = dataclasses.replace(REQUEST, watched=watched)
    async with hostile(*handlers, routes=ROUTES) as server:
        backend = OpenAIBackend(
            server.url, flavour="llama-server", mode=mode, stream=stream, **options
        )
        async with backend.stream(request) as chunks:
            found = [chunk async for chunk in chunks]
        await backend.aclose()
    return found, server.requests[0]


def progress(chunks: list[Chunk]) -> list[tuple[int, int]]:
    return [(each.tokens, each.total) for each in chunks if isinstance(each, PrefillChunk)]


async def test_a_long_prompt_tells_how_far_it_is_before_all_text() -> None:
    answer = events(told(20, cache=20), told(50, cache=20), told(100, cache=20), *ANSWER)
    chunks, body = await ask(answer)
    assert body["return_progress"] is True
    assert progress(chunks) == [(50, 100), (100, 100)]
    assert isinstance(chunks[2], TextChunk)


ANSWER = (delta(content="Hello."), delta("stop"), usage())


async def test_a_prompt_of_one_batch_has_no_progress() -> None:
    chunks, _ = await ask(events(told(20, cache=20), told(100, cache=20), *ANSWER))
    assert progress(chunks) == []


async def test_raw_completions_tell_it_too() -> None:
    text = {"choices": [{"text": "Hello.", "finish_reason": "stop"}]}
    reports = [told(done) for done in (0, 50, 100)]
    for report in reports:
        report["choices"] = []
    answer = events(*reports, text, usage())
    chunks, body = await ask(answer, mode="raw")
    assert body["return_progress"] is True
    assert progress(chunks) == [(50, 100), (100, 100)]


async def test_it_is_asked_for_only_where_somebody_looks_at_a_stream() -> None:
    _, body = await ask(text_reply(), watched=False)
    assert "return_progress" not in body

    async def whole(exchange: Exchange) -> None:
        choice = {"message": {"content": "Hello."}, "finish_reason": "stop"}
        await exchange.respond({"choices": [choice], "usage": usage()["usage"]})

    _, body = await ask(whole, stream=False)
    assert "return_progress" not in body


async def test_other_servers_are_not_asked() -> None:
    async with hostile(text_reply()) as server:
        backend = VLLMBackend(server.url)
        async with backend.stream(ModelRequest((UserMessage("Hi."),))) as chunks:
            assert not progress([chunk async for chunk in chunks])
        await backend.aclose()
    assert "return_progress" not in server.requests[0]


def slowly(*behind: object) -> Handler:
    """A batch takes longer than a token may; what follows comes at once."""

    async def handler(exchange: Exchange) -> None:
        await exchange.begin_events()
        await exchange.event(told(50))
        await anyio.sleep(0.4)
        data = "".join(f"data: {json.dumps(event)}\n\n" for event in behind)
        await exchange.chunk(data.encode())
        await anyio.sleep_forever()

    return handler


async def test_the_time_until_the_first_token_goes_on_after_a_report() -> None:
    limits = Timeouts(first_token=60, between_tokens=0.2)
    async with hostile(slowly(delta(content="Hello.")), routes=ROUTES) as server:
        backend = OpenAIBackend(server.url, flavour="llama-server", timeouts=limits)
        found: list[Chunk] = []
        with pytest.raises(BackendUnavailable, match="no next token within"):  # noqa: PT012
            async with backend.stream(REQUEST) as chunks:
                async for chunk in chunks:
                    found.append(chunk)  # noqa: PERF401 - they are kept when it fails
        await backend.aclose()
    assert progress(found) == [(50, 100)]
    assert found[-1] == TextChunk("Hello."), "the batch was waited for, the next token was not"


async def test_reports_are_no_first_token() -> None:
    async def slow(exchange: Exchange) -> None:
        await exchange.begin_events()
        await exchange.event(told(50))
        await anyio.sleep(0.3)
        for event in ANSWER:
            await exchange.event(event)
        await exchange.end_events()

    chunks, _ = await ask(slow)
    end = chunks[-1]
    assert isinstance(end, Finished)
    assert end.usage.prefill_seconds >= 0.3


@pytest.mark.parametrize("odd", [None, "x", {}, {"total": "1"}, {"total": 2, "processed": None}])
def test_an_odd_report_is_none(odd: object) -> None:
    assert Progress().take({"prompt_progress": odd}) is None


def test_what_is_progress() -> None:
    assert is_progress([told(1)])
    assert not is_progress([told(1), delta(content="x")])
    assert not is_progress([])
