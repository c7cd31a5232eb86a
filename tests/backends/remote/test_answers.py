"""Typed answers: what each server is asked for, and what happens where it refuses."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from ling_agent import Sampling
from ling_agent.backends import Backend, OpenAIBackend, SGLangBackend, VLLMBackend
from ling_agent.backends.base import Finished, ModelRequest, NamedTool, TextChunk, ToolChoice
from ling_agent.backends.remote.answer_format import allows_strict, answer_fields, answer_tag
from ling_agent.backends.remote.chat_body import chat_body
from ling_agent.backends.remote.facts import AnswerFormat, Kind, ServerFacts, adaptation
from ling_agent.errors import BackendUnavailable
from ling_agent.messages import UserMessage
from ling_agent.profiles import CHATML

from .hostile import Exchange, Handler, answer, delta, events, hostile, message, text_reply, usage
from .runs import SGLANG

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
CLOSED = {**SCHEMA, "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "add", "parameters": SCHEMA}}
FAST = dataclasses.replace(CHATML, thinks=False)
GOOD = '{"a": 1}'


def facts(kind: Kind, held: AnswerFormat, **more: Any) -> ServerFacts:
    return ServerFacts(kind, None, "m", ("m",), 8192, answer_format=held, **more)


def request(
    *, tools: bool = False, choice: ToolChoice = "auto", schema: Any = SCHEMA, prefill: str = ""
) -> ModelRequest:
    return ModelRequest(
        (UserMessage("Hi."),),
        (TOOL,) if tools else (),
        Sampling(max_tokens=20),
        prefill=prefill,
        tool_choice=choice,
        answer_schema=schema,
    )


# -- the fields -------------------------------------------------------------------------------


def test_vllm_gets_a_tag_that_leaves_room_for_reasoning() -> None:
    sent = answer_fields(request(), facts("vllm", "structural_tag"), CHATML)
    assert json.loads(sent["structured_outputs"]["structural_tag"]) == answer_tag(
        CLOSED, thinks=True
    )
    plain, behind = answer_tag(CLOSED, thinks=True)["format"]["elements"]
    assert plain["json_schema"] == CLOSED
    assert behind["elements"][0]["begin"] == "<think>"
    assert behind["elements"][-1] == plain


def test_sglang_gets_the_same_tag_in_its_own_field() -> None:
    sent = answer_fields(request(), facts("sglang", "structural_tag"), CHATML)
    assert sent == {"response_format": answer_tag(CLOSED, thinks=True)}


def test_a_family_that_never_thinks_may_not_begin_to() -> None:
    sent = answer_fields(request(), facts("sglang", "structural_tag"), FAST)
    assert sent["response_format"]["format"]["json_schema"] == CLOSED


@pytest.mark.parametrize("kind", ["openai", "ollama", "llama-server", "vllm", "sglang"])
def test_the_others_get_a_response_format(kind: Kind) -> None:
    sent = answer_fields(request(), facts(kind, "json_schema"), CHATML)
    form = {"name": "answer", "schema": CLOSED, "strict": True}
    assert sent == {"response_format": {"type": "json_schema", "json_schema": form}}


def test_raw_completions_have_fields_of_their_own() -> None:
    raw = {
        kind: answer_fields(request(), facts(kind, "json_schema"), CHATML, raw=True)
        for kind in ("openai", "ollama", "llama-server", "vllm", "sglang")
    }
    assert raw["openai"] == raw["ollama"] == {}
    assert raw["llama-server"] == {"json_schema": CLOSED}
    assert raw["vllm"] == raw["sglang"]
    assert raw["vllm"]["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize("kind", ["vllm", "sglang", "openai", "llama-server", "ollama"])
@pytest.mark.parametrize("held", ["structural_tag", "json_schema"])
def test_where_a_call_may_come_nothing_is_held(kind: Kind, held: AnswerFormat) -> None:
    known = facts(kind, held)
    for choice in ("auto", "required", NamedTool("add")):
        assert answer_fields(request(tools=True, choice=choice), known, CHATML) == {}
    assert answer_fields(request(tools=True, choice="none"), known, CHATML)


def test_what_asks_for_none_gets_none() -> None:
    known = facts("vllm", "structural_tag")
    assert answer_fields(request(schema=None), known, CHATML) == {}
    assert answer_fields(request(), known.without_constraint(), CHATML) == {}
    assert answer_fields(request(prefill="Plan:\n1."), known, CHATML, raw=True) == {}


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_the_prompt_is_the_same_with_and_without_a_schema(kind: Kind) -> None:
    known = facts(kind, "structural_tag", constraint="strict" if kind == "sglang" else "none")
    asked = request(tools=True, choice="none")
    typed = chat_body(asked, known, CHATML, stream=True)
    plain = chat_body(dataclasses.replace(asked, answer_schema=None), known, CHATML, stream=True)
    for name in ("structured_outputs", "response_format"):
        typed.pop(name, None)
    assert typed == plain


STRICT: list[tuple[dict[str, Any], bool]] = [
    (CLOSED, True),
    ({**CLOSED, "required": []}, False),
    (SCHEMA, False),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, False),
    ({"type": "array", "items": CLOSED}, True),
    ({"type": "array", "items": SCHEMA}, False),
    ({"anyOf": [CLOSED, {"type": "null"}]}, True),
    ({"anyOf": [SCHEMA, {"type": "null"}]}, False),
    ({"type": "array", "prefixItems": [{"type": "integer"}]}, False),
    ({"$ref": "#/$defs/A", "$defs": {"A": SCHEMA}}, False),
    ({"type": "string", "maxLength": 3}, False),
]


@pytest.mark.parametrize(("schema", "allowed"), STRICT)
def test_strict_only_where_openai_allows_it(schema: dict[str, Any], allowed: bool) -> None:
    assert allows_strict(schema) is allowed


def test_an_optional_property_is_asked_for_without_strict() -> None:
    optional = {"type": "object", "properties": {"a": {"type": "integer"}}}
    sent = answer_fields(request(schema=optional), facts("openai", "json_schema"), CHATML)
    assert sent["response_format"]["json_schema"]["strict"] is False


# -- refusals ---------------------------------------------------------------------------------


def test_refusals_lead_from_the_tag_to_the_format_to_nothing() -> None:
    known = facts("vllm", "structural_tag", constraint="structured_outputs")
    reason = "Unknown structural tag"
    simpler = adaptation(known, reason, answering=True)
    assert simpler == dataclasses.replace(known, answer_format="json_schema")
    assert simpler is not None
    none = adaptation(simpler, "response_format is not supported", answering=True)
    assert none is not None
    assert (none.answer_format, none.constraint) == ("none", "structured_outputs")
    assert none.notes == (
        "typed answers are not held to their schema: the server refused that (response_format is "
        "not supported)",
    )


def test_a_refusal_of_another_request_says_nothing_about_answers() -> None:
    known = facts("vllm", "structural_tag", constraint="structured_outputs")
    learned = adaptation(known, "Unknown structural tag")
    assert learned is not None
    assert (learned.answer_format, learned.constraint) == ("structural_tag", "none")


def refusing(*fields: str, reason: str, status: int = 400) -> Handler:
    """A server that takes none of these fields."""

    async def handler(exchange: Exchange) -> None:
        if exchange.json.keys() & set(fields):
            await exchange.respond({"error": {"message": reason}}, status=status)
        else:
            await text_reply(GOOD)(exchange)

    return handler


def in_the_stream(*fields: str, reason: str) -> Handler:
    """A server that notices only when its stream has begun, as vLLM with a broken schema."""

    async def handler(exchange: Exchange) -> None:
        if exchange.json.keys() & set(fields):
            await events({"error": {"message": reason, "code": 400}})(exchange)
        else:
            await text_reply(GOOD)(exchange)

    return handler


async def ask(backend: Backend, asked: ModelRequest) -> tuple[str, Finished]:
    async with backend.stream(asked) as stream:
        chunks = [chunk async for chunk in stream]
    end = chunks[-1]
    assert isinstance(end, Finished)
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk)), end


EVERY = ("structured_outputs", "response_format")
REASONS = ["structured outputs are off", "Extra inputs are not permitted: response_format", ""]


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("status", [400, 422])
async def test_a_field_that_is_refused_is_left_out_once_and_for_all(
    reason: str, status: int
) -> None:
    async with hostile(refusing(*EVERY, reason=reason, status=status)) as server:
        backend = VLLMBackend(server.url)
        for _ in range(2):
            text, end = await ask(backend, request(tools=True, choice="none"))
            assert text == GOOD
            (note,) = [note for note in end.notes if "typed answers are not held" in note]
            assert reason in note
        await backend.aclose()
    tried = [EVERY[0] in body or EVERY[1] in body for body in server.requests]
    assert tried == [True, True, False, False]
    assert EVERY[0] in server.requests[0]
    assert server.requests[1]["response_format"]["type"] == "json_schema"
    assert all(body["messages"] == server.requests[0]["messages"] for body in server.requests)


async def test_a_server_without_tags_takes_the_format_and_that_needs_no_note() -> None:
    async with hostile(refusing(EVERY[0], reason="unknown field structural_tag")) as server:
        backend = VLLMBackend(server.url)
        assert (await ask(backend, request()))[0] == GOOD
        _, end = await ask(backend, request())
        assert not any("typed answers" in note for note in end.notes)
        await backend.aclose()
    assert [EVERY[1] in body for body in server.requests] == [False, True, True]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_schema_that_breaks_the_stream_is_left_out(stream: bool) -> None:
    reason = "Grammar error: Invalid type: nonsense"

    async def whole(exchange: Exchange) -> None:
        if exchange.json.keys() & set(EVERY):
            await exchange.respond({"error": {"message": reason}}, status=500)
        else:
            await exchange.respond(message(content=GOOD))

    async with hostile(in_the_stream(*EVERY, reason=reason) if stream else whole) as server:
        backend = VLLMBackend(server.url, stream=stream)
        text, end = await ask(backend, request())
        await backend.aclose()
    assert text == GOOD
    assert any("Invalid type: nonsense" in note for note in end.notes)


async def test_another_error_in_the_stream_is_raised_as_ever() -> None:
    async with hostile(in_the_stream(*EVERY, reason="out of memory")) as server:
        backend = VLLMBackend(server.url)
        with pytest.raises(BackendUnavailable, match="out of memory"):
            await ask(backend, request())
        await backend.aclose()
    assert len(server.requests) == 1


async def test_an_error_behind_the_first_piece_is_not_asked_again() -> None:
    late = events(delta(content="{"), {"error": {"message": "grammar error"}})
    async with hostile(late) as server:
        backend = VLLMBackend(server.url)
        with pytest.raises(BackendUnavailable, match="grammar error"):
            await ask(backend, request())
        await backend.aclose()
    assert len(server.requests) == 1


async def test_a_refusal_for_another_reason_is_the_servers_own_words() -> None:
    async with hostile(answer({"error": "temperature must be kind"}, status=400)) as server:
        backend = VLLMBackend(server.url)
        with pytest.raises(Exception, match="temperature must be kind"):
            await ask(backend, request())
        await backend.aclose()


async def test_sglang_keeps_its_tools_in_the_prompt() -> None:
    async with hostile(text_reply(GOOD), routes=SGLANG) as server:
        backend = SGLangBackend(server.url)
        text, _ = await ask(backend, request(tools=True, choice="none"))
        await backend.aclose()
    (body,) = server.requests
    assert text == GOOD
    assert body["tool_choice"] == "auto"
    assert body["tools"][0]["function"]["name"] == "add"
    assert body["response_format"]["type"] == "structural_tag"


async def test_raw_completions_of_a_server_that_knows_no_format_say_so() -> None:
    choice = {"text": GOOD, "finish_reason": "stop"}
    routes: dict[str, object] = {"/v1/models": {"data": [{"id": "m", "owned_by": "me"}]}}
    async with hostile(events({"choices": [choice]}, usage()), routes=routes) as server:
        backend = OpenAIBackend(server.url, mode="raw")
        text, end = await ask(backend, request())
        _, other = await ask(backend, request(schema=None))
        await backend.aclose()
    assert text == GOOD
    assert any("does not take one; use mode='chat'" in note for note in end.notes)
    assert not any("typed answers" in note for note in other.notes)
    assert not server.requests[0].keys() & {*EVERY, "json_schema"}


async def test_a_constraint_that_is_not_wanted_is_not_asked_for() -> None:
    async with hostile(text_reply(GOOD)) as server:
        backend = VLLMBackend(server.url, constrain=False)
        _, end = await ask(backend, request())
        await backend.aclose()
    assert not server.requests[0].keys() & set(EVERY)
    assert not any("typed answers" in note for note in end.notes)
