"""The real `openai` client, sync and async, against a real server process."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion

from .processes import Server, serving

KEY = "a-key-4711"
EVERY = ("adder", "echoes", "asks", "endless", "gone")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server, None, None]:
    words = [f"served:{name}" for name in EVERY]
    folder = tmp_path_factory.mktemp("served")
    with serving(folder, *words, environment={"LING_AGENT_SERVE_KEY": KEY}) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Generator[openai.OpenAI, None, None]:
    with openai.OpenAI(base_url=server.url, api_key=KEY, max_retries=0) as opened:
        yield opened


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == list(EVERY)
    assert client.models.retrieve("adder").owned_by == "ling_agent"


def test_a_whole_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="adder", messages=user("1 + 2?"))
    (choice,) = answer.choices
    assert (choice.message.content, choice.finish_reason) == ("The sum is 3 €.", "stop")
    assert answer.usage is not None
    assert answer.usage.total_tokens > 0
    extension: Any = answer.model_extra
    assert extension["ling_agent"]["result"]["usage"]["tool_calls"] == 1


def test_a_streamed_answer(client: openai.OpenAI) -> None:
    options: Any = {"include_usage": True}
    stream = client.chat.completions.create(
        model="adder", messages=user("1 + 2?"), stream=True, stream_options=options
    )
    *chunks, last = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == "I add.\n\nThe sum is 3 €."
    assert [
        chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason
    ] == ["stop"]
    assert last.usage is not None
    extensions: list[Any] = [chunk.model_extra for chunk in chunks]
    kinds = [extension["ling_agent"]["event"]["type"] for extension in extensions]
    assert [kind for kind in kinds if kind.startswith("tool_")] == ["tool_started", "tool_finished"]


def test_the_clients_own_collecting_stream(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="adder", messages=user("1 + 2?")) as stream:
        deltas = "".join(event.delta for event in stream if event.type == "content.delta")
        whole = stream.get_final_completion()
    assert deltas == whole.choices[0].message.content == "I add.\n\nThe sum is 3 €."


def test_a_session(client: openai.OpenAI) -> None:
    header = {"X-Session-Id": "s1"}
    for text in ("one", "two"):
        answer = client.chat.completions.create(
            model="echoes", messages=user(text), extra_headers=header
        )
    assert answer.choices[0].message.content == "one | one | two"


def test_earlier_messages(client: openai.OpenAI) -> None:
    messages: Any = [*user("one"), {"role": "assistant", "content": "two"}, *user("three")]
    answer = client.chat.completions.create(model="echoes", messages=messages)
    assert answer.choices[0].message.content == "one | two | three"


def test_calls_that_wait(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="asks", messages=user("buy"))
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    (waiting,) = choice.message.tool_calls
    assert waiting.type == "function"
    assert waiting.function.name == "buy"
    extension: Any = answer.model_extra
    path = extension["ling_agent"]["resume"].removeprefix("/v1")
    done = client.post(
        path,
        cast_to=ChatCompletion,
        body={"approvals": {waiting.id: True}},
    )
    assert done.choices[0].message.content == "bought"


def test_errors_are_the_clients_own(client: openai.OpenAI, server: Server) -> None:
    create: Any = client.chat.completions.create
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=server.url, api_key="wrong").models.list()
    with pytest.raises(openai.NotFoundError, match="nobody"):
        create(model="nobody", messages=user("x"))
    tools: Any = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    with pytest.raises(openai.BadRequestError, match="brings its own tools") as caught:
        create(model="adder", messages=user("x"), tools=tools)
    assert caught.value.param == "tools"
    for stream in (False, True):
        with pytest.raises(openai.InternalServerError) as unavailable:
            list(create(model="gone", messages=user("x"), stream=stream))
        assert unavailable.value.code == "model_unavailable"
        assert "10.1.2.3" not in str(unavailable.value)
    assert "10.1.2.3" in server.log


def test_leaving_a_stream_ends_its_run(client: openai.OpenAI, server: Server) -> None:
    header = {"X-Session-Id": "left"}
    stream = client.chat.completions.create(
        model="endless", messages=user("x"), stream=True, extra_headers=header
    )
    with stream:
        for chunk in stream:
            if chunk.choices[0].delta.content:
                break
    server.wait_until(lambda: server.health(authorization=f"Bearer {KEY}")["runs"] == 0)
    server.wait_until(lambda: "run=http:left outcome=cancelled" in server.log)


def test_the_async_client_many_at_once(server: Server) -> None:
    async def ask(client: openai.AsyncOpenAI, number: int) -> str:
        stream = await client.chat.completions.create(
            model="echoes", messages=user(f"number {number}"), stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def main() -> list[str]:
        async with openai.AsyncOpenAI(base_url=server.url, api_key=KEY) as client:
            return await asyncio.gather(*(ask(client, number) for number in range(30)))

    assert asyncio.run(main()) == [f"number {number}" for number in range(30)]
