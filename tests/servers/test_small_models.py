"""What small models are asked on a real server, whose prompts are rendered here by default."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest

from ling_agent.backends.base import DRAFTS, DraftForm, ModelRequest
from ling_agent.demonstrations import IN_PYTHON
from ling_agent.hermes import parse
from ling_agent.hermes.python_calls import read_calls
from scripts.servers.launch import LocalServer

from .support import SCHEMAS, ask, backend_for, question

pytestmark = pytest.mark.anyio

PARAMETERS = {schema["function"]["name"]: schema["function"]["parameters"] for schema in SCHEMAS}
NUMBER = {"type": "integer"}
ODD: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "get_time": ({"type": "object", "properties": {}}, "Get the time."),
    "show-all": ({"type": "object"}, "Show all."),
    "set_lamp": (
        {
            "type": "object",
            "properties": {
                "room": {"enum": ["kitchen", None]},
                "on": {"type": "boolean"},
                "level": {"anyOf": [NUMBER, {"type": "null"}]},
            },
            "required": ["on"],
        },
        "Turn the lamp on.",
    ),
    "find_train": (
        {"type": "object", "properties": {"from": NUMBER}, "required": ["from"]},
        "Find a train from platform 9.",
    ),
    "sum_up": (
        {"type": "object", "properties": dict.fromkeys("abcdefghijk", NUMBER)},
        "Sum up a=1 and k=2.",
    ),
}
"""Schemas of arguments, and what a tool with them does."""

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


def drafted(text: str, form: DraftForm, tools: tuple[Mapping[str, Any], ...]) -> ModelRequest:
    asked = question(text, choice=form, tools=tools)
    return dataclasses.replace(asked, prefill=DRAFTS[form].prefill)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_list_holds_calls_that_fit_and_nothing_else(
    server: LocalServer, stream: bool
) -> None:
    asked = drafted("Add 1 and 2, and paint the wall blue.", "listed", SCHEMAS)
    text, end = await ask(backend_for(server, stream=stream), asked)
    assert text.startswith(DRAFTS["listed"].prefill)
    assert text.endswith(DRAFTS["listed"].end)
    calls = json.loads(text.removeprefix("```json"))
    assert calls
    for call in calls:
        jsonschema.validate(call["arguments"], PARAMETERS[call["name"]])
    assert not any("schema" in note for note in end.notes)


@pytest.mark.parametrize("form", ["python", "commented"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_program_holds_calls_that_fit_and_nothing_else(
    server: LocalServer, stream: bool, form: DraftForm
) -> None:
    asked = drafted("Add 1 and 2, and paint the wall blue.", form, SCHEMAS)
    text, end = await ask(backend_for(server, stream=stream), asked)
    count = check_program(text, form, PARAMETERS)
    assert text.count("\n# ") == (count if form == "commented" else 0)
    assert not any("schema" in note for note in end.notes)


@pytest.mark.parametrize("form", ["python", "commented"])
@pytest.mark.parametrize("name", ODD)
async def test_a_program_is_held_whatever_the_arguments_of_a_tool_are(
    server: LocalServer, name: str, form: DraftForm
) -> None:
    parameters, text = ODD[name]
    function = {"name": name, "description": text, "parameters": parameters}
    tools = ({"type": "function", "function": function},)
    written, end = await ask(backend_for(server), drafted(text, form, tools))
    check_program(written, form, {name: parameters})
    assert not any("schema" in note for note in end.notes)


TIMELINE: Mapping[str, Any] = {
    "type": "object",
    "properties": {"event": {"type": "string"}, "region": {"type": "string"}},
}


@pytest.mark.parametrize("region", ["optional", "required"])
async def test_a_text_ends_where_the_model_ends_it(server: LocalServer, region: str) -> None:
    """Its quote and what stands behind it are one token, which has to be allowed."""
    required = ["event", "region"] if region == "required" else ["event"]
    does = "Timelines of events in history."
    parameters = {**TIMELINE, "required": required}
    function = {"name": "timeline", "description": does, "parameters": parameters}
    text = "Get me the timeline of World War 2 in Europe."
    asked = drafted(text, "python", ({"type": "function", "function": function},))
    asked = dataclasses.replace(asked, messages=(*IN_PYTHON, *asked.messages))
    written, _ = await ask(backend_for(server), asked)
    check_program(written, "python", {"timeline": parameters})
    first, *_ = read_calls(written.removeprefix(DRAFTS["python"].prefill), ["timeline"])
    assert first["arguments"] == {"event": "World War 2", "region": "Europe"}


async def test_each_call_of_a_list_is_one_line(server: LocalServer) -> None:
    """A model that breaks a line inside a call often ends the list behind it."""
    place = {"type": "string"}
    forecast = {"location": place, "hours": NUMBER, "rain": {"type": "boolean"}}
    tools = (
        tool("forecast", "A forecast of the weather.", forecast),
        tool("time_difference", "Hours between two places.", {"place1": place, "place2": place}),
    )
    asked = drafted(
        "Get the weather in New York for the next 12 hours with rain, "
        "and the time difference between New York and Tokyo.",
        "listed",
        tools,
    )
    written, _ = await ask(backend_for(server), asked)
    calls = json.loads(written.removeprefix("```json"))
    assert [call["name"] for call in calls] == ["forecast", "time_difference"]
    assert len(written.splitlines()) == len(calls) + 3


def tool(name: str, does: str, properties: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    function = {"name": name, "description": does, "parameters": parameters}
    return {"type": "function", "function": function}


def check_program(text: str, form: DraftForm, parameters: Mapping[str, Any]) -> int:
    """It is calls that fit, so many, up to its end; a mapping may be written over several lines."""
    written = DRAFTS[form]
    assert text.startswith(written.prefill)
    assert text.endswith(written.end)
    program = text.removeprefix(written.prefill).removesuffix(written.end)
    *calls, last = read_calls(f"{program}\nlast()", {*parameters, "last"})
    assert last["name"] == "last", text
    assert calls
    for call in calls:
        jsonschema.validate(call["arguments"], parameters[call["name"]])
    return len(calls)


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
