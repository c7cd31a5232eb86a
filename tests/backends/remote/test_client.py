"""`OpenAIBackend(client=…)` with the real ``openai`` package: the client is used as given."""

from __future__ import annotations

import gc
import re
import warnings
from collections.abc import Generator

import anyio
import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI

from ling_agent import Agent, BackendError, BackendUnavailable, ConfigurationError, ContextOverflow
from ling_agent.backends import ModelRequest, OpenAIBackend, Timeouts
from ling_agent.backends.base import Finished, TextChunk
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

KEY = "sk-of-the-client"
CALL = {"index": 0, "id": "x", "type": "function"} | {
    "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}
}


@pytest.fixture(autouse=True)
def generators_are_collected() -> Generator[None, None, None]:
    """openai leaves its own generators behind each stream, of which trio warns: here, or later."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def client_of(server: HostileServer, **options: object) -> AsyncOpenAI:
    given: dict[str, object] = {"max_retries": 0, **options}
    return AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY, **given)  # pyright: ignore[reportArgumentType]


async def ask(backend: OpenAIBackend) -> tuple[str, Finished]:
    async with backend.stream(ModelRequest((UserMessage("Hi."),))) as chunks:
        seen = [chunk async for chunk in chunks]
    assert isinstance(seen[-1], Finished)
    return "".join(chunk.text for chunk in seen if isinstance(chunk, TextChunk)), seen[-1]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_run_through_the_client(stream: bool) -> None:
    if stream:
        first = events(delta(tool_calls=[CALL]), delta("tool_calls"), usage())
        second = text_reply("It is 3.")
    else:
        first = answer(message("tool_calls", content=None, tool_calls=[CALL]))
        second = answer(message(content="It is 3."))
    async with hostile(first, second) as server:
        client = client_of(server, default_headers={"X-Mine": "yes"})
        backend = OpenAIBackend(client=client, model="m", stream=stream)
        result = await Agent(backend, tools=[add], planning="off").run("1 + 2?")
        await backend.aclose()
        assert not client.is_closed(), "it is the caller's"
        await client.close()
    assert (result.output, result.usage.tool_calls) == ("It is 3.", 1)
    assert result.usage.prompt_tokens == 20
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert [body["model"] for body in server.requests] == ["m", "m"]
    assert all("temperature" in body for body in server.requests), "always explicit"


async def test_the_clients_own_headers_are_sent() -> None:
    seen: list[str | None] = []

    async def handler(exchange: Exchange) -> None:
        seen.append(exchange.headers.get("x-mine"))
        await text_reply()(exchange)

    async with (
        hostile(handler) as server,
        client_of(server, default_headers={"X-Mine": "yes"}) as client,
    ):
        assert (await ask(OpenAIBackend(client=client, model="m")))[0] == "Hello."
    assert seen == ["yes"]


async def test_the_client_is_asked_nothing_that_it_does_not_know() -> None:
    """No discovery: what a hosted service lists is not always what it serves."""

    async def lists(exchange: Exchange) -> None:
        pytest.fail("the models were listed")

    async with hostile(routes={"/v1/models": lists}) as server, client_of(server) as client:
        backend = OpenAIBackend(client=client, model="deployment")
        info = await backend.describe()
        assert info.model == "deployment"
        assert info.context_window is None
        assert (await ask(backend))[1].finish_reason == "stop"
        assert backend.name == f"openai:{server.url}#deployment"
        assert KEY not in repr(backend) + repr(info)


ERRORS: dict[str, tuple[Handler, type[BackendError], str]] = {
    "401": (answer({"error": {"message": f"bad {KEY}"}}, status=401), BackendRefused, r"bad [key]"),
    "404": (answer({"error": {"message": "no such model"}}, status=404), BackendRefused, "no such"),
    "400": (
        answer({"error": {"message": "temperature must be kind"}}, status=400),
        BackendRefused,
        "refused the request (400): temperature must be kind",
    ),
    "too long": (
        answer({"error": {"message": "maximum context length is 8"}}, status=400),
        ContextOverflow,
        "the prompt does not fit",
    ),
    "500": (answer({"error": {"message": "oh"}}, status=500), BackendUnavailable, "failed (500)"),
    "429": (answer({"error": {"message": "slow"}}, status=429), BackendUnavailable, "overloaded"),
    "in the stream": (
        events(delta(content="a"), {"error": {"message": "CUDA out of memory"}}),
        BackendUnavailable,
        "CUDA out of memory",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
async def test_the_clients_errors_are_ours(name: str) -> None:
    handler, kind, says = ERRORS[name]
    async with hostile(handler) as server, client_of(server) as client:
        backend = OpenAIBackend(client=client, model="m", retries=0)
        with pytest.raises(kind, match=re.escape(says)) as caught:
            await ask(backend)
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_stream_that_breaks_off_is_an_error() -> None:
    async def breaks(exchange: Exchange) -> None:
        await exchange.begin_events()
        await exchange.event(delta(content="a"))
        await exchange.stream.aclose()

    async with hostile(breaks) as server, client_of(server) as client:
        with pytest.raises(BackendUnavailable):
            await ask(OpenAIBackend(client=client, model="m"))


async def test_a_port_that_is_closed_is_told() -> None:
    async with hostile() as server:
        url = server.url
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        with pytest.raises(BackendUnavailable, match=f"cannot reach {url}"):
            await ask(OpenAIBackend(client=client, model="m"))


@pytest.mark.parametrize("begins", [True, False])
async def test_silence_ends_in_time(begins: bool) -> None:
    async def silent(exchange: Exchange) -> None:
        if begins:
            await exchange.begin_events()
            await exchange.event(delta(content="a"))
        await exchange.stream.receive()

    timeouts = Timeouts(first_token=0.3, between_tokens=0.3)
    async with hostile(silent) as server, client_of(server) as client:
        backend = OpenAIBackend(client=client, model="m", timeouts=timeouts)
        what = "next" if begins else "first"
        with anyio.fail_after(5), pytest.raises(BackendUnavailable, match=f"no {what} token"):
            await ask(backend)


async def test_leaving_the_answer_closes_it() -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.begin_events()
        while True:
            await exchange.event(delta(content="a"))
            await anyio.sleep(0.01)

    async with hostile(endless) as server, client_of(server) as client:
        backend = OpenAIBackend(client=client, model="m")
        async with backend.stream(ModelRequest((UserMessage("Hi."),))) as chunks:
            async for _ in chunks:
                break
        with anyio.fail_after(3):
            while not server.left:  # noqa: ASYNC110 - it has no event
                await anyio.sleep(0.01)
        assert not client.is_closed()


async def test_a_field_that_is_refused_is_left_out() -> None:
    async def newer(exchange: Exchange) -> None:
        if "max_tokens" in exchange.json:
            said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            await exchange.respond({"error": {"message": said}}, status=400)
        else:
            await text_reply("Yes.")(exchange)

    async with hostile(newer) as server, client_of(server) as client:
        assert (await ask(OpenAIBackend(client=client, model="m")))[0] == "Yes."
    assert "max_completion_tokens" in server.requests[-1]


async def test_a_client_for_azure() -> None:
    """Its paths, its key and its queries are its own."""
    seen: list[dict[str, str]] = []

    async def deployment(exchange: Exchange) -> None:
        seen.append(exchange.headers)
        await exchange.respond(message(content="From Azure."))

    path = "/openai/deployments/m/chat/completions?api-version=2024-10-21"
    async with (
        hostile(routes={path: deployment}) as server,
        AsyncAzureOpenAI(
            azure_endpoint=server.url, api_key=KEY, api_version="2024-10-21", max_retries=0
        ) as client,
    ):
        backend = OpenAIBackend(client=client, model="m", stream=False)
        assert (await ask(backend))[0] == "From Azure."
    assert [headers["api-key"] for headers in seen] == [KEY]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"url": "http://a", "client": object(), "model": "m"},
        {"client": object()},
        {"client": object(), "model": "m", "api_key": "k"},
        {"client": object(), "model": "m", "mode": "raw"},
        {"url": "http://a", "flavour": "other"},
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        OpenAIBackend(**options)  # pyright: ignore[reportArgumentType]
