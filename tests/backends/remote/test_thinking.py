"""What servers that render prompts themselves are told about thinking, and the dialect of calls."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ling_agent import Agent, RunResult
from ling_agent.backends import OpenAIBackend, VLLMBackend
from ling_agent.backends.base import ModelRequest, NamedTool, ToolChoice
from ling_agent.backends.remote.answer_format import answer_fields, not_held_raw
from ling_agent.backends.remote.chat_body import chat_body, in_dialect
from ling_agent.backends.remote.facts import Constraint, Kind, ServerFacts
from ling_agent.backends.remote.jsons import write_json
from ling_agent.hermes import render, render_call
from ling_agent.messages import AssistantMessage, Message, SystemMessage, UserMessage
from ling_agent.profiles import LING3, LING26, QWEN3, RING26, Profile, get_profile

from .hostile import Exchange, hostile, text_reply
from .runs import GOOD, SGLANG, says

pytestmark = pytest.mark.anyio

TOOL: dict[str, Any] = {"type": "function", "function": {"name": "add", "parameters": {}}}
ON = LING26.with_thinking(True)
SWITCH = "detailed thinking on"
CALL = render_call("add", {"a": 1, "b": 2}, dialect="arg_key")
ALL_KINDS: tuple[Kind, ...] = ("vllm", "sglang", "llama-server", "openai", "ollama")


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def facts(kind: Kind = "vllm", **more: Any) -> ServerFacts:
    return ServerFacts(kind, None, "m", ("m",), 8192, **more)


def body(
    profile: Profile,
    *messages: Message,
    known: ServerFacts | None = None,
    tools: tuple[dict[str, Any], ...] = (),
    choice: ToolChoice = "auto",
) -> dict[str, Any]:
    request = ModelRequest(messages or (UserMessage("Hi."),), tools, tool_choice=choice)
    return chat_body(request, known or facts(), profile, stream=True)


# -- variables of the template ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("family", [LING3, QWEN3], ids=lambda profile: profile.name)
def test_variables_go_to_the_servers_that_take_them(kind: Kind, on: bool, family: Profile) -> None:
    sent = body(family.with_thinking(on), known=facts(kind))
    if kind in ("vllm", "sglang", "llama-server"):
        assert sent["chat_template_kwargs"] == {"enable_thinking": on}
    else:
        assert "chat_template_kwargs" not in sent


@pytest.mark.parametrize("name", ["qwen3", "ling-2.6", "ling-2.6:thinking", "ring-2.6", "plain"])
def test_where_nothing_is_to_be_said_by_a_variable_there_is_none(name: str) -> None:
    assert "chat_template_kwargs" not in body(get_profile(name))


# -- the switch in the system message ---------------------------------------------------------


def system_of(profile: Profile, *messages: Message) -> Any:
    return body(profile, *messages)["messages"][0]


def test_the_switch_stands_on_its_own_line_of_the_first_system_message() -> None:
    sent = body(ON, SystemMessage("Be brief."), UserMessage("Hi."), SystemMessage("Another."))
    assert [said["content"] for said in sent["messages"]] == [
        f"Be brief.\n{SWITCH}",
        "Hi.",
        "Another.",
    ]


@pytest.mark.parametrize("first", [(), (SystemMessage(""),)])
def test_it_is_all_of_a_system_message_that_says_nothing(first: tuple[Message, ...]) -> None:
    sent = body(ON, *first, UserMessage("Hi."))["messages"]
    assert sent == [{"role": "system", "content": SWITCH}, {"role": "user", "content": "Hi."}]


@pytest.mark.parametrize("words", [SWITCH, "detailed thinking off"])
def test_a_system_message_that_speaks_of_thinking_is_left_alone(words: str) -> None:
    text = f"Be brief.\n{words}\nBe kind."
    assert system_of(ON, SystemMessage(text))["content"] == text


@pytest.mark.parametrize("profile", [LING26, LING26.with_thinking(False), LING3, RING26])
def test_no_other_profile_puts_it_there(profile: Profile) -> None:
    assert system_of(profile, SystemMessage("Be brief."))["content"] == "Be brief."


@pytest.mark.parametrize("head", [(), (SystemMessage("Be brief."),), (AssistantMessage("Hi."),)])
def test_a_longer_conversation_begins_with_the_same_bytes(head: tuple[Message, ...]) -> None:
    messages: tuple[Message, ...] = (*head, UserMessage("Hi."))
    for number in range(3):
        longer = (*messages, AssistantMessage(str(number)), UserMessage("Go on."))
        before = write_json(body(ON, *messages)["messages"])[:-1]
        assert write_json(body(ON, *longer)["messages"]).startswith(before)
        messages = longer


# -- over a connection ------------------------------------------------------------------------


async def run(profile: str, *, instructions: str = "") -> list[Any]:
    """The bodies of a run of two steps."""
    async with hostile(GOOD, says(content="It is 3.")) as server:
        backend = VLLMBackend(server.url, profile=profile)
        agent = Agent(backend, tools=[add], planning="off", instructions=instructions)
        result = await agent.run("What is 1 + 2?")
        await backend.aclose()
    assert result.output == "It is 3."
    assert len(server.requests) == 2
    return server.requests


@pytest.mark.parametrize("instructions", ["", "Be brief."])
async def test_each_request_of_a_run_has_the_switch_and_extends_the_one_before(
    instructions: str,
) -> None:
    first, second = await run("ling-2.6:thinking", instructions=instructions)
    told = f"{instructions}\n{SWITCH}" if instructions else SWITCH
    assert first["messages"][0] == {"role": "system", "content": told}
    assert second["messages"][: len(first["messages"])] == first["messages"]
    assert str(second["messages"]).count(SWITCH) == 1


async def test_each_request_of_a_run_has_the_variables() -> None:
    for each in await run("ling-3.0:thinking"):
        assert each["chat_template_kwargs"] == {"enable_thinking": True}
    for each in await run("ling-3.0"):
        assert each["chat_template_kwargs"] == {"enable_thinking": False}


async def test_a_server_of_no_known_kind_is_sent_no_variables() -> None:
    models = {"data": [{"id": "m", "owned_by": "somebody"}]}
    async with hostile(text_reply(), routes={"/v1/models": models}) as server:
        backend = OpenAIBackend(server.url, profile="ling-3.0")
        await Agent(backend).run("Hi.")
        await backend.aclose()
    assert "chat_template_kwargs" not in server.requests[0]


# -- the dialect of calls ---------------------------------------------------------------------


@pytest.mark.parametrize("choice", ["auto", "required", NamedTool("add")])
@pytest.mark.parametrize(
    ("kind", "constraint"), [("vllm", "structured_outputs"), ("sglang", "strict"), ("vllm", "none")]
)
@pytest.mark.parametrize("profile", [LING3, LING3.with_thinking(True), RING26])
def test_nothing_forces_calls_into_json_that_are_written_otherwise(
    profile: Profile, kind: Kind, constraint: Constraint, choice: ToolChoice
) -> None:
    sent = body(profile, known=facts(kind, constraint=constraint), tools=(TOOL,), choice=choice)
    assert sent["tools"] == [TOOL]
    assert sent["tool_choice"] == "auto"
    assert not sent.keys() & {"structured_outputs", "response_format"}


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_what_is_given_up_is_said_once(kind: Kind) -> None:
    known = facts(kind, constraint="strict" if kind == "sglang" else "none")
    assert in_dialect(known, LING26) is known
    told = in_dialect(known, LING3)
    assert in_dialect(told, LING3) is told
    if kind in ("vllm", "sglang"):
        (note,) = told.notes
        assert "calls are not held to their schema: the model writes them with <arg_key>" in note
        assert told == dataclasses.replace(
            known, constraint="none", forces_calls=False, notes=told.notes
        )
    else:
        assert told is known, "llama-server's grammar is that of the model's own template"


@pytest.mark.parametrize("routes", [{}, SGLANG], ids=["vllm", "sglang"])
async def test_calls_in_the_dialect_are_read_where_the_server_does_not(
    routes: dict[str, object],
) -> None:
    result: RunResult[Any]
    async with hostile(says(content=CALL), says(content="It is 3."), routes=routes) as server:
        backend = OpenAIBackend(server.url, profile="ling-3.0")
        result = await Agent(backend, tools=[add], planning="off").run("What is 1 + 2?")
        await backend.aclose()
    assert result.output == "It is 3."
    assert result.usage.tool_calls == 1
    assert sum("<arg_key>" in note for note in result.notes) == 1
    for each in server.requests:
        assert "structured_outputs" not in each
        assert not any(tool["function"].get("strict") for tool in each["tools"])


async def test_a_server_whose_template_is_another_than_the_given_profiles_is_noted() -> None:
    async def tokenize(exchange: Exchange) -> None:
        asked = exchange.json
        text = asked.get("prompt") or render(asked["messages"], template="ling2")
        await exchange.respond({"tokens": [*text.encode()]})

    async with hostile(routes={"/tokenize": tokenize}) as server:
        backend = VLLMBackend(server.url, mode="raw", profile="qwen2.5")
        info = await backend.describe()
        await backend.aclose()
    assert info.profile.name == "qwen2.5"
    assert any("is that of the profile ling-2.0: is qwen2.5 meant?" in note for note in info.notes)


@pytest.mark.parametrize(("name", "held"), [("ling-3.0", True), ("ling-3.0:thinking", False)])
def test_an_answer_behind_reasoning_that_the_prompt_begins_is_not_held(
    name: str, held: bool
) -> None:
    request = ModelRequest((UserMessage("Hi."),), answer_schema={"type": "object"})
    known = facts(answer_format="structural_tag")
    profile = get_profile(name)
    assert bool(answer_fields(request, known, profile, raw=True)) == held
    assert bool(not_held_raw(request, known, profile)) != held
    assert answer_fields(request, known, profile), "a server that reads the reasoning exempts it"
