"""What small models are asked on a real server, whose prompts are rendered here by default."""

from __future__ import annotations

import dataclasses
import json
import math

import jsonschema
import pytest

from ling_agent.backends.base import LIST_END, LIST_PREFILL, ModelRequest
from ling_agent.hermes import parse
from scripts.servers.launch import LocalServer

from .support import SCHEMAS, ask, backend_for, question

pytestmark = pytest.mark.anyio

PARAMETERS = {schema["function"]["name"]: schema["function"]["parameters"] for schema in SCHEMAS}
YES_OR_NO = ("yes", "Yes", "no", "No")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # trio is tested on the loopback server


def begun(text: str, prefill: str) -> ModelRequest:
    return dataclasses.replace(question(text), prefill=prefill)


async def test_the_prompts_of_the_small_model_are_rendered_here(server: LocalServer) -> None:
    backend = backend_for(server)
    await backend.prepare()
    assert backend.renders_prompts
    assert (await backend.facts()).notes == ()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_list_holds_calls_that_fit_and_nothing_else(
    server: LocalServer, stream: bool
) -> None:
    asked = begun("Add 1 and 2, and paint the wall blue.", LIST_PREFILL)
    asked = dataclasses.replace(asked, tool_choice="listed")
    text, end = await ask(backend_for(server, stream=stream), asked)
    assert text.startswith(LIST_PREFILL)
    assert text.endswith(LIST_END)
    calls = json.loads(text.removeprefix("```json"))
    assert calls
    for call in calls:
        jsonschema.validate(call["arguments"], PARAMETERS[call["name"]])
    assert not any("schema" in note for note in end.notes)


@pytest.mark.parametrize("opening", ["", ' {"'])
async def test_the_arguments_of_a_begun_call_fit(server: LocalServer, opening: str) -> None:
    """The wall is to be blue, which the tool does not have."""
    prefill = f'Plan: use the tool `paint`.\n<tool_call>\n{{"name": "paint", "arguments":{opening}'
    text, end = await ask(backend_for(server), begun("Paint it blue.", prefill))
    call, *_ = parse(text, tools=list(SCHEMAS)).calls
    assert (call.name, call.repairs) == ("paint", ())
    assert call.arguments["colour"] in ("red", "green")
    assert not any("schema" in note for note in end.notes)


@pytest.mark.parametrize("stream", [True, False])
async def test_words_are_weighed(server: LocalServer, stream: bool) -> None:
    """With one of them, the likeliest, the model then begins its answer."""
    asked = question("Is Paris the capital of France? Answer yes or no.", tools=(), max_tokens=4)
    backend = backend_for(server, stream=stream)
    text, end = await ask(backend, dataclasses.replace(asked, weigh=YES_OR_NO))
    assert text == ""
    assert end.usage.completion_tokens == 1
    assert 0.5 < sum(map(math.exp, end.weights)) <= 1.0
    odds = dict(zip(YES_OR_NO, end.weights, strict=True))
    free, _ = await ask(backend, asked)
    assert free.startswith(max(odds, key=lambda word: odds[word]))


async def test_an_answer_in_words_is_no_call(server: LocalServer) -> None:
    """Asked freely, this model answers with bare JSON."""
    backend = backend_for(server)
    free, _ = await ask(backend, question("What is 1+2?"))
    words, end = await ask(backend, question("What is 1+2?", choice="none"))
    assert parse(free, tools=list(SCHEMAS), bare_json=True).calls
    assert words.strip()
    assert words[0] not in "[{`<"
    assert not any("schema" in note for note in end.notes)
