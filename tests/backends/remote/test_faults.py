"""Each fault of a server is one typed error with its cause and the next step, in time."""

from __future__ import annotations

import gc
import math
import socket
import time
import warnings
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from ling_agent import Agent, BackendError, BackendUnavailable, ContextOverflow, Sampling
from ling_agent.backends import ModelRequest, Timeouts, VLLMBackend
from ling_agent.backends.base import Chunk, TextChunk
from ling_agent.errors import BackendRefused
from ling_agent.messages import UserMessage

from .hostile import (
    Exchange,
    Handler,
    HostileServer,
    answer,
    delta,
    events,
    hostile,
    message,
    text_reply,
    usage,
)

pytestmark = pytest.mark.anyio

QUICK = Timeouts(connect=1.0, first_token=0.5, between_tokens=0.3)
REQUEST = ModelRequest((UserMessage("Hi."),), sampling=Sampling(max_tokens=8))


async def ask(backend: VLLMBackend, request: ModelRequest = REQUEST) -> list[Chunk]:
    async with backend.stream(request) as chunks:
        return [chunk async for chunk in chunks]


def text(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk))


@asynccontextmanager
async def nothing_left_open(server: HostileServer) -> AsyncGenerator[None, None]:
    """No connection of a failed request stays open."""
    yield
    with anyio.fail_after(2):
        while server.open:  # noqa: ASYNC110 - its end has no event
            await anyio.sleep(0.01)


async def one_byte_a_second(exchange: Exchange) -> None:
    await exchange.begin_events()
    await exchange.event(delta(content="a"))
    for byte in b"data: " + b"x" * 1000:
        await exchange.chunk(bytes([byte]))
        await anyio.sleep(0.1)


async def silent(exchange: Exchange) -> None:
    await exchange.stream.receive()  # until the client goes away


async def silent_stream(exchange: Exchange) -> None:
    await exchange.begin_events()
    await exchange.stream.receive()


async def only_pings(exchange: Exchange) -> None:
    await exchange.begin_events()
    while True:
        await exchange.chunk(b": ping\n\n")
        await anyio.sleep(0.05)


async def cut_in_an_event(exchange: Exchange) -> None:
    await exchange.begin_events()
    await exchange.event(delta(content="a"))
    await exchange.chunk(b'data: {"choices": [{"delta": {"con')
    await exchange.stream.aclose()


async def ends_in_an_event(exchange: Exchange) -> None:
    await exchange.begin_events()
    await exchange.chunk(b'data: {"choices": [{"delta": {"con')
    await exchange.send(b"0\r\n\r\n")


async def ends_without_a_reason(exchange: Exchange) -> None:
    await exchange.begin_events()
    await exchange.event(delta(content="a"))
    await exchange.send(b"0\r\n\r\n")


async def closes_at_once(exchange: Exchange) -> None:
    await exchange.stream.aclose()


async def no_http(exchange: Exchange) -> None:
    await exchange.send(b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n")
    await exchange.stream.aclose()


async def ten_megabytes(exchange: Exchange) -> None:
    await exchange.begin_events()
    piece = b"x" * 1_000_000
    await exchange.chunk(b"data: ")
    for _ in range(10):
        await exchange.chunk(piece)


async def bad_utf8(exchange: Exchange) -> None:
    await exchange.begin_events()
    await exchange.chunk(b'data: {"choices": [{"delta": {"content": "\xff\xfe"}}]}\n\n')
    await exchange.end_events()


HTML = answer(b"<!DOCTYPE html><html>Sign in</html>", content_type="text/html")
FAULTS: dict[str, tuple[Handler, type[BackendError], str]] = {
    "one byte a second": (one_byte_a_second, BackendUnavailable, "no next token within 0.3 s"),
    "never answers": (silent, BackendUnavailable, "no first token within 0.5 s"),
    "never begins": (silent_stream, BackendUnavailable, "no first token within 0.5 s"),
    "only pings": (only_pings, BackendUnavailable, "no first token within 0.5 s"),
    "cut in an event": (cut_in_an_event, BackendUnavailable, "broke off its answer"),
    "ends in an event": (ends_in_an_event, BackendUnavailable, "broke off its answer"),
    "ends without a reason": (ends_without_a_reason, BackendUnavailable, "broke off its answer"),
    "closes at once": (closes_at_once, BackendUnavailable, "closed the connection without an"),
    "no HTTP": (no_http, BackendUnavailable, "closed the connection without an answer"),
    "an event of 10 MB": (ten_megabytes, BackendUnavailable, "exceeded the 8388608 byte limit"),
    "invalid UTF-8": (bad_utf8, BackendUnavailable, "an event that is not UTF-8"),
    "an event that is not JSON": (events("{"), BackendUnavailable, "an event that is not JSON"),
    "an event that is no object": (events([1]), BackendUnavailable, "not an object"),
    "an error in the stream": (
        events(delta(content="a"), {"error": {"message": "CUDA out of memory", "code": 500}}),
        BackendUnavailable,
        "in the middle of its answer: CUDA out of memory",
    ),
    "HTML": (HTML, BackendUnavailable, "answers with a web page, not JSON"),
    "JSON in place of a stream": (answer({"a": 1}), BackendUnavailable, "did not answer with"),
    "401": (
        answer({"error": "Unauthorized"}, status=401),
        BackendRefused,
        "refused the API key (401): Unauthorized: give api_key=… or set LING_AGENT_API_KEY",
    ),
    "404": (
        answer({"message": "The model `x` does not exist."}, status=404),
        BackendRefused,
        "The model `x` does not exist.: check the base URL and the name of the model",
    ),
    "400 with a reason": (
        answer({"error": {"message": "temperature must be non-negative"}}, status=400),
        BackendRefused,
        "refused the request (400): temperature must be non-negative",
    ),
    "422 with a list": (
        answer({"detail": [{"loc": ["body", "x"], "msg": "Field required"}]}, status=422),
        BackendRefused,
        "refused the request (422): Field required",
    ),
    "400, too long": (
        answer({"error": {"message": "This model's maximum context length is 8"}}, status=400),
        ContextOverflow,
        "the prompt does not fit: This model's maximum context length is 8",
    ),
    "500 with a web page": (
        answer(b"<html>oh</html>", status=500, content_type="text/html"),
        BackendUnavailable,
        "failed (500): look into its log",
    ),
    "a redirection": (
        answer(b"", status=307, location="http://elsewhere/"),
        BackendRefused,
        "sends to http://elsewhere/: write that URL",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_each_fault_is_one_clear_error_in_time(name: str) -> None:
    handler, kind, says = FAULTS[name]
    async with hostile(handler) as server, nothing_left_open(server):
        backend = VLLMBackend(server.url, timeouts=QUICK, retries=0)
        started = time.perf_counter()
        with pytest.raises(kind) as caught:
            await ask(backend)
        assert time.perf_counter() - started < 3, "later than its timeout"
        await backend.aclose()
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(server.requests) == 1, "it was sent again although the server may be working"


WHOLE: dict[str, tuple[Handler, type[BackendError], str]] = {
    "never answers": (silent, BackendUnavailable, "no answer within"),
    "closes at once": (closes_at_once, BackendUnavailable, "closed the connection without an"),
    "HTML": (HTML, BackendUnavailable, "answers with a web page, not JSON"),
    "no JSON": (answer(b"oops"), BackendUnavailable, "did not answer with JSON but with: oops"),
    "invalid UTF-8": (answer(b'"\xff"'), BackendUnavailable, "not UTF-8"),
    "not an answer": (answer([1]), BackendUnavailable, "not an object"),
    "no choices": (answer({"choices": []}), BackendUnavailable, "broke off its answer"),
    "401": (answer({"error": "no"}, status=401), BackendRefused, "LING_AGENT_API_KEY"),
}


@pytest.mark.parametrize("name", WHOLE)
async def test_also_without_streaming(name: str) -> None:
    handler, kind, says = WHOLE[name]
    async with hostile(handler) as server, nothing_left_open(server):
        quick = Timeouts(connect=1.0, first_token=0.2, between_tokens=0.3)
        backend = VLLMBackend(server.url, timeouts=quick, retries=0, stream=False)
        request = ModelRequest(REQUEST.messages, sampling=Sampling(max_tokens=1))
        with pytest.raises(kind, match=says.replace("(", r"\(")):
            await ask(backend, request)
        await backend.aclose()


async def test_a_second_done_and_what_follows_the_first_are_not_read() -> None:
    async def twice(exchange: Exchange) -> None:
        await exchange.begin_events()
        for event in (delta(content="Hi."), delta("stop"), usage(), "[DONE]", "[DONE]", "{"):
            await exchange.event(event)
        await exchange.end_events()

    async with hostile(twice, text_reply("Again.")) as server:
        backend = VLLMBackend(server.url)
        assert text(await ask(backend)) == "Hi."
        assert text(await ask(backend)) == "Again."
        await backend.aclose()


async def test_events_in_pieces_of_any_size_are_read() -> None:
    payload = "".join(
        f"data: {each}\r\n\r\n"
        for each in (
            '{"choices": [{"delta": {"content": "Grüße 🎉"}}]}',
            '{"choices": [{"delta": {}, "finish_reason": "stop"}]}',
            "[DONE]",
        )
    ).encode()

    async def bytewise(exchange: Exchange) -> None:
        await exchange.begin_events()
        for start in range(len(payload)):
            await exchange.chunk(payload[start : start + 1])
        await exchange.send(b"0\r\n\r\n")

    async with hostile(bytewise) as server:
        backend = VLLMBackend(server.url)
        assert text(await ask(backend)) == "Grüße 🎉"
        await backend.aclose()


async def test_a_closed_port_is_told_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.perf_counter()
    with pytest.raises(BackendUnavailable, match=r"is the server running, and is this its port\?"):
        await VLLMBackend(f"http://127.0.0.1:{port}").describe()
    assert time.perf_counter() - started < 2


async def test_tls_where_there_is_none_says_what_to_write() -> None:
    async with hostile() as server:
        backend = VLLMBackend(server.url.replace("http:", "https:"), retries=3)
        with pytest.raises(BackendUnavailable, match="TLS"):
            await backend.describe()
        await backend.aclose()


@pytest.mark.parametrize(
    ("routes", "says"),
    [
        ({"/v1/models": HTML}, "answers with a web page"),
        ({"/v1/models": {"x": 1}}, "lists no models"),
        ({"/v1/models": answer({}, status=404)}, "has no /v1/models"),
        ({"/v1/models": {"data": []}}, "serves no model"),
        ({"/v1/models": silent}, "no answer within"),
    ],
)
async def test_what_is_no_such_server_is_told(
    routes: dict[str, object], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ling_agent.backends.remote.transport._PROBE_SECONDS", 0.3)
    async with hostile(routes=routes) as server, nothing_left_open(server):
        backend = VLLMBackend(server.url)
        with pytest.raises(BackendError, match=says):
            await backend.describe()
        await backend.aclose()


async def test_429_waits_as_long_as_the_server_says_then_asks_again() -> None:
    busy = answer({"error": "slow down"}, status=429, Retry_After="0.2")
    async with hostile(busy, text_reply("Now.")) as server:
        backend = VLLMBackend(server.url)
        await backend.describe()
        started = time.perf_counter()
        assert text(await ask(backend)) == "Now."
        assert time.perf_counter() - started >= 0.2
        await backend.aclose()


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_server_that_is_not_ready_is_asked_again(status: int) -> None:
    async with hostile(answer({}, status=status), text_reply("Now.")) as server:
        backend = VLLMBackend(server.url)
        assert text(await ask(backend)) == "Now."
        await backend.aclose()


async def test_it_gives_up_after_its_retries_and_before_an_hour() -> None:
    busy = answer({"error": "slow down"}, status=429, Retry_After="3600")
    async with hostile(answer({}, status=503)) as server:
        backend = VLLMBackend(server.url, retries=1)
        with pytest.raises(BackendUnavailable, match="is not ready"):
            await ask(backend)
        assert len(server.requests) == 2
        await backend.aclose()
    async with hostile(busy) as server:
        backend = VLLMBackend(server.url)
        with pytest.raises(BackendUnavailable, match="is overloaded") as caught:
            await ask(backend)
        assert caught.value.retry_after == 3600
        assert len(server.requests) == 1
        await backend.aclose()


async def test_leaving_or_cancelling_closes_the_connection() -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.begin_events()
        while True:
            await exchange.event(delta(content="a"))
            await anyio.sleep(0.01)

    async with hostile(endless) as server:
        backend = VLLMBackend(server.url)
        async with backend.stream(REQUEST) as chunks:
            async for _ in chunks:
                break
        with anyio.move_on_after(0.2):
            await ask(backend)
        with anyio.fail_after(3):
            while server.left < 2:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        await backend.aclose()
    async with hostile(silent) as server, nothing_left_open(server):
        backend = VLLMBackend(server.url, stream=False)
        with anyio.move_on_after(0.2):
            await ask(backend)
        await backend.aclose()


async def test_connections_are_kept_alive_between_requests() -> None:
    async with hostile(text_reply()) as server:
        backend = VLLMBackend(server.url)
        for _ in range(5):
            await ask(backend)
        assert server.opened == 1
        await backend.aclose()


def test_nothing_is_left_open_when_the_event_loop_ends() -> None:
    async def main() -> None:
        async with hostile(text_reply()) as server:
            await ask(VLLMBackend(server.url))

    for library in ("asyncio", "trio"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            anyio.run(main, backend=library)
            gc.collect()
        assert not [str(warning.message) for warning in caught]


async def test_a_run_keeps_what_was_done_before_the_server_broke() -> None:
    calls: list[int] = []

    def add(a: int) -> int:
        """Add one."""
        calls.append(a)
        return a + 1

    call = delta(
        tool_calls=[{"index": 0, "id": "x", "function": {"name": "add", "arguments": '{"a": 1}'}}]
    )
    good = events(call, delta("tool_calls"), usage())
    async with hostile(good, cut_in_an_event, text_reply("It is 2.")) as server:
        agent = Agent(VLLMBackend(server.url), tools=[add], planning="off")
        result = await agent.run("Add.")
        assert result.status == "failed"
        assert isinstance(result.error, BackendUnavailable)
        assert "broke off" in str(result.error)
        again = await agent.resume(result.run_id)
        assert again.output == "It is 2."
        assert calls == [1], "a tool ran twice"


@pytest.mark.parametrize("value", [0, -1, True, "1", math.nan])
def test_timeouts_are_seconds(value: float) -> None:
    with pytest.raises(Exception, match=r"Timeouts.first_token must be seconds above 0"):
        Timeouts(first_token=value)


async def test_a_whole_answer_is_read() -> None:
    async with hostile(answer(message(content="Hello."))) as server:
        backend = VLLMBackend(server.url, stream=False)
        assert text(await ask(backend)) == "Hello."
        assert server.requests[0]["stream"] is False
        await backend.aclose()
