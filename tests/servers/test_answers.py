"""Typed answers on a real server: held to their schema where no call may come."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest

from ling_agent.backends.base import ModelRequest, ToolChoice
from ling_agent.hermes import parse
from ling_agent.profiles import CHATML
from scripts.servers.launch import LocalServer

from .support import SCHEMAS, ask, backend_for, question

pytestmark = pytest.mark.anyio

CITY: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 40},
        "size": {"type": "string", "enum": ["small", "large"]},
        "capital": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
    },
    "required": ["city", "size", "capital"],
}
NO_THINKING = dataclasses.replace(CHATML, thinks=False)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # trio is tested on the loopback server


def typed(
    text: str,
    *,
    schema: Mapping[str, Any] = CITY,
    tools: tuple[Mapping[str, Any], ...] = (),
    choice: ToolChoice = "auto",
) -> ModelRequest:
    request = question(text, tools=tools, choice=choice, max_tokens=128)
    return dataclasses.replace(request, answer_schema=schema)


def city(text: str) -> dict[str, Any]:
    value = json.loads(text)
    jsonschema.validate(value, CITY)
    assert set(value) == {"city", "size", "capital"}, "the object is closed"
    return value


@pytest.mark.parametrize("mode", ["chat", "raw"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("profile", [CHATML, NO_THINKING], ids=["thinks", "does not think"])
async def test_an_answer_is_held_to_its_schema(
    server: LocalServer, mode: str, stream: bool, profile: Any
) -> None:
    """The question alone would be answered in prose."""
    backend = backend_for(server, mode=mode, stream=stream, profile=profile)
    text, end = await ask(backend, typed("Write a poem about Tokyo."))
    assert end.finish_reason == "stop"
    assert "Tokyo" in city(text)["city"]
    assert not any("schema" in note for note in end.notes)


@pytest.mark.parametrize("mode", ["chat", "raw"])
async def test_with_tools_an_answer_is_held_where_no_call_may_come(
    server: LocalServer, mode: str
) -> None:
    backend = backend_for(server, mode=mode)
    asked = typed("What is 1+2?", tools=SCHEMAS, choice="none")
    text, end = await ask(backend, asked)
    city(text)
    assert not end.read_by_server
    free, other = await ask(backend, dataclasses.replace(asked, tool_choice="auto"))
    assert end.usage.prompt_tokens == other.usage.prompt_tokens, "the prefix is kept"
    assert [call.name for call in parse(free, tools=list(SCHEMAS), bare_json=True).calls] == ["add"]


@pytest.mark.parametrize("mode", ["chat", "raw"])
async def test_a_schema_that_the_server_cannot_enforce_is_left_out_with_a_note(
    server: LocalServer, mode: str
) -> None:
    impossible = {"type": "object", "properties": {"a": {"type": "nonsense"}}, "required": ["a"]}
    backend = backend_for(server, mode=mode)
    text, end = await ask(backend, typed("What is the capital of France?", schema=impossible))
    assert "Paris" in text
    assert sum("not held to their schema" in note for note in end.notes) == 1
    assert (await backend.facts()).answer_format == "none", "it is remembered"


async def test_a_constraint_can_be_turned_off(server: LocalServer) -> None:
    backend = backend_for(server, constrain=False)
    text, end = await ask(backend, typed("What is the capital of France? Answer in one word."))
    assert text.strip(" .") == "Paris"
    assert not any("schema" in note for note in end.notes)
