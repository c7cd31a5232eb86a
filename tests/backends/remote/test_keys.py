"""The API key reaches the server, and nobody else."""

from __future__ import annotations

import dataclasses
import json
import logging
from typing import Any

import pytest

from ling_agent import Agent, BackendError, ConfigurationError, RunResult
from ling_agent.backends import OpenAIBackend, SGLangBackend, VLLMBackend
from ling_agent.backends.base import ModelRequest
from ling_agent.events import Event
from ling_agent.messages import UserMessage

from .hostile import Exchange, Handler, answer, delta, events, hostile, text_reply, usage

KEY = "sk-4711-very-secret"
BEARER = f"Bearer {KEY}"


@pytest.fixture(autouse=True)
def no_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LING_AGENT_API_KEY", raising=False)


def look(where: str) -> str:
    """Look somewhere."""
    return f"nothing {where}"


CALL = delta(
    tool_calls=[
        {"index": 0, "id": "x", "function": {"name": "look", "arguments": '{"where": "up"}'}}
    ]
)


async def echoes(exchange: Exchange) -> None:
    """A server that repeats the request's headers in its error, as proxies do."""
    said = f"bad header: authorization: {exchange.headers['authorization']}"
    await exchange.respond({"error": {"message": said}}, status=400)


async def echoes_in_the_stream(exchange: Exchange) -> None:
    await exchange.begin_events()
    await exchange.event(delta(content="a"))
    await exchange.event({"error": {"message": f"who is {exchange.headers['authorization']}?"}})
    await exchange.end_events()


async def echoes_a_web_page(exchange: Exchange) -> None:
    page = f"no {exchange.headers['authorization']} here".encode()
    await exchange.respond(page, content_type="text/plain")


async def echoes_an_event(exchange: Exchange) -> None:
    await exchange.begin_events()
    await exchange.event("{" + exchange.headers["authorization"])
    await exchange.end_events()


async def echoes_a_place(exchange: Exchange) -> None:
    await exchange.respond(b"", status=307, location=f"http://elsewhere/?key={KEY}")


async def echoes_a_refusal(exchange: Exchange) -> None:
    await exchange.respond({"error": f"invalid key {KEY}"}, status=401)


ECHOES: dict[str, Handler] = {
    "400": echoes,
    "401": echoes_a_refusal,
    "an event": echoes_in_the_stream,
    "no JSON": echoes_a_web_page,
    "no JSON event": echoes_an_event,
    "503": answer({"error": f"{KEY} is busy"}, status=503),
}


def everything(error: BaseException | None) -> str:
    """All that an error and its causes say and hold, as far as a traceback shows them."""
    said: list[str] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        said.append(f"{error!r} {error} {vars(error)}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(said)


def stored(result: RunResult) -> str:
    """All that a result holds, and what is stored of it."""
    as_json = json.dumps(dataclasses.asdict(dataclasses.replace(result, error=None)), default=str)
    return as_json + repr(result) + result.trajectory.to_jsonl() + everything(result.error)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [VLLMBackend, SGLangBackend, OpenAIBackend])
@pytest.mark.parametrize("stream", [True, False])
async def test_it_is_sent_with_each_request(kind: type[VLLMBackend], stream: bool) -> None:
    said: dict[str, Any] = {"role": "assistant", "content": "Hi."}
    whole = answer({"choices": [{"index": 0, "message": said, "finish_reason": "stop"}]})
    async with hostile(text_reply() if stream else whole) as server:
        backend = kind(server.url, api_key=KEY, stream=stream)
        async with backend.stream(ModelRequest((UserMessage("Hi."),))) as chunks:
            assert [chunk async for chunk in chunks]
        await backend.aclose()
    assert len(server.keys) > 1, "discovery as well"
    assert set(server.keys) == {BEARER}


@pytest.mark.anyio
async def test_it_comes_from_the_environment_where_none_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with hostile() as server:
        await VLLMBackend(server.url).describe()
        assert set(server.keys) == {None}
        monkeypatch.setenv("LING_AGENT_API_KEY", "from-the-environment")
        server.keys.clear()
        agent = Agent(f"vllm:{server.url}")
        await agent.run("Hi.")
        assert set(server.keys) == {"Bearer from-the-environment"}
        server.keys.clear()
        await VLLMBackend(server.url, api_key=KEY).describe()
        assert set(server.keys) == {BEARER}, "the argument is more than the environment"
        server.keys.clear()
        await VLLMBackend(server.url, api_key="").describe()
        assert set(server.keys) == {None}, "an empty one sends none"
        monkeypatch.setenv("LING_AGENT_API_KEY", "")
        await VLLMBackend(server.url).describe()
        assert set(server.keys) == {None}


@pytest.mark.anyio
async def test_it_is_sent_when_a_server_is_asked_for_its_health(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ling_agent.backends.remote.servers._DOWN_SECONDS", 0.0001)
    seen: list[str | None] = []

    async def health(exchange: Exchange) -> None:
        seen.append(exchange.headers.get("authorization"))
        await exchange.respond(b"")

    routes: dict[str, object] = {"/health": health}
    busy = answer({}, status=503)
    async with hostile(busy, text_reply(), routes=routes) as first, hostile() as second:
        backend = VLLMBackend(f"{first.url},{second.url}", api_key=KEY)
        for _ in range(4):
            async with backend.stream(ModelRequest((UserMessage("Hi."),))) as chunks:
                assert [chunk async for chunk in chunks]
        await backend.aclose()
    assert set(seen) == {BEARER}


@pytest.mark.anyio
@pytest.mark.parametrize("echo", ECHOES)
async def test_no_error_event_record_or_result_repeats_it(
    echo: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        logging.getLogger(name).setLevel(logging.DEBUG)
    seen: list[Event] = []
    good = events(CALL, delta("tool_calls"), usage())
    async with hostile(good, ECHOES[echo]) as server:
        backend = VLLMBackend(server.url, api_key=KEY, retries=0)
        agent = Agent(backend, tools=[look], planning="off")
        async with agent.stream("Look up.") as run:
            seen.extend([event async for event in run])
        with pytest.raises(BackendError) as caught:
            async with backend.stream(ModelRequest((UserMessage("Hi."),))) as chunks:
                assert [chunk async for chunk in chunks]
        await backend.aclose()
    assert BEARER in server.keys
    assert run.result.error is not None
    assert KEY not in stored(run.result)
    assert KEY not in everything(caught.value)
    assert KEY not in repr(seen)
    assert KEY not in repr(backend) + repr(agent) + str(agent) + backend.name
    records = "\n".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    assert KEY not in records + caplog.text


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/v1/models", "/version", "/openapi.json"])
async def test_discovery_does_not_repeat_it(path: str) -> None:
    async with hostile(routes={path: echoes}) as server:
        backend = VLLMBackend(server.url, api_key=KEY)
        said = ""
        try:
            info = await backend.describe()
            said = repr(info)
        except BackendError as error:
            said = everything(error)
        await backend.aclose()
    assert KEY not in said


@pytest.mark.anyio
async def test_a_redirection_with_the_key_in_it_is_not_repeated() -> None:
    """Not looked at here: httpcore's own records, which repeat a server's headers at DEBUG."""
    async with hostile(echoes_a_place) as server:
        backend = VLLMBackend(server.url, api_key=KEY)
        with pytest.raises(
            BackendError, match=r"sends to http://elsewhere/\?key=\[key\]"
        ) as caught:
            async with backend.stream(ModelRequest((UserMessage("Hi."),))) as chunks:
                assert [chunk async for chunk in chunks]
        await backend.aclose()
    assert KEY not in everything(caught.value)


@pytest.mark.anyio
async def test_a_note_that_quotes_the_server_does_not_repeat_it() -> None:
    async def refuses(exchange: Exchange) -> None:
        if "structured_outputs" in exchange.json:
            said = f"no structured outputs for {exchange.headers['authorization']}"
            await exchange.respond({"error": said}, status=400)
        else:
            await text_reply()(exchange)

    async with hostile(refuses) as server:
        agent = Agent(VLLMBackend(server.url, api_key=KEY), tools=[look], planning="off")
        result = await agent.run("Hi.")
    assert "no structured outputs for Bearer [key]" in "\n".join(result.notes)
    assert KEY not in stored(result)


@pytest.mark.parametrize(
    "key", ["sk-1\nb", "sk-1\r\nx: y", " sk-1", "sk-1 ", "ключ", "sk-1\x00b", "sk-1\tb"]
)
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="the API key holds characters") as caught:
        VLLMBackend("http://localhost", api_key=key)
    assert key.strip() not in everything(caught.value)
    monkeypatch.setenv("LING_AGENT_API_KEY", "a\nb")
    with pytest.raises(ConfigurationError, match="the API key holds characters"):
        Agent("vllm:http://localhost")


def test_a_key_in_the_url_is_refused_and_not_shown() -> None:
    for url in (f"http://user:{KEY}@localhost:8000", f"http://{KEY}@localhost:8000"):
        with pytest.raises(ConfigurationError, match=r"give api_key=… or set") as caught:
            VLLMBackend(url)
        assert KEY not in everything(caught.value)
