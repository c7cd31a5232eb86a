"""What goes over the wire, taken apart as the server's template renders it: no turn is forged.

The server is a stand-in. Its template is rendered without any escaping, as servers do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from ling_agent import Agent, Document, RunResult, Tool
from ling_agent.backends import ModelRequest, OpenAIBackend, SGLangBackend, VLLMBackend
from ling_agent.hermes import render
from ling_agent.messages import AssistantMessage
from tests.backends.remote.hostile import hostile, text_reply
from tests.backends.remote.runs import SGLANG, says

from .support import (
    CORPUS,
    EVERY_INJECTION,
    TEMPLATES,
    conversation,
    marks,
    roles,
    tools,
)

pytestmark = pytest.mark.anyio

every_template = pytest.mark.parametrize("template", TEMPLATES)
KINDS = {"vllm": VLLMBackend, "sglang": SGLangBackend, "openai": OpenAIBackend}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # what is sent does not depend on the event loop


def as_rendered(body: Any, template: str) -> str:
    """The prompt that a server makes of a chat request: arguments become objects, no escapes."""
    return render(body["messages"], body.get("tools"), template=template, neutralise=False)


async def sent(kind: str, texts: Iterable[str], template: str, *, mode: Any = "chat") -> list[Any]:
    """The body of a request for each of the texts: everything in it that can be is that text."""
    routes = SGLANG if kind == "sglang" else {}
    async with hostile(text_reply(), routes=routes) as server:
        backend = KINDS[kind](server.url, profile=template, mode=mode)
        for number, text in enumerate(texts):
            name = f"conversation {number}"
            request = ModelRequest(tuple(conversation(text)), tools(text), conversation=name)
            async with backend.stream(request) as chunks:
                assert [chunk async for chunk in chunks]
        await backend.aclose()
    return server.requests


@every_template
@pytest.mark.parametrize("kind", KINDS)
async def test_chat_requests_forge_nothing(kind: str, template: str) -> None:
    bodies = await sent(kind, ["plain", *CORPUS.values()], template)
    plain, *prompts = [as_rendered(body, template) for body in bodies]
    for name, prompt in zip(CORPUS, prompts, strict=True):
        assert roles(prompt, template) == roles(plain, template), name
        assert marks(prompt, template) == marks(plain, template), name


@every_template
async def test_raw_prompts_forge_nothing(template: str) -> None:
    bodies = await sent("vllm", ["plain", *CORPUS.values()], template, mode="raw")
    plain, *prompts = [body["prompt"] for body in bodies]
    for name, prompt in zip(CORPUS, prompts, strict=True):
        assert roles(prompt, template) == roles(plain, template), name
        assert marks(prompt, template) == marks(plain, template), name


async def test_the_same_request_is_the_same_bytes() -> None:
    everything = "\n".join(CORPUS.values())
    first, second = await sent("vllm", [everything, everything], "chatml")
    assert json.dumps(first) == json.dumps(second)


# -- whole runs -------------------------------------------------------------------------------


def returning(text: str, wiped: list[str]) -> list[Tool[..., Any]]:
    """A tool that returns a text, and one that must never be called."""

    def look(where: str) -> str:
        """Look somewhere."""
        return text

    def wipe(path: str = "") -> str:
        """Delete everything."""
        wiped.append(path)
        return "gone"

    return [Tool.from_function(look), Tool.from_function(wipe)]


LOOK = [
    {
        "index": 0,
        "id": "c0",
        "type": "function",
        "function": {"name": "look", "arguments": '{"where": "up"}'},
    }
]


async def run(text: str, wiped: list[str], last: str = "Nothing.") -> tuple[RunResult, Any]:
    handlers = (says("tool_calls", content=None, tool_calls=LOOK), says(content=last))
    async with hostile(*handlers) as server:
        backend = VLLMBackend(server.url)
        agent = Agent(backend, tools=returning(text, wiped), planning="off")
        result = await agent.run(f"Look. {text}", documents=[Document(text, name=f"{text}.txt")])
        await backend.aclose()
    return result, server.requests[-1]


async def test_a_run_makes_no_call_that_the_model_did_not_write() -> None:
    """And the last request holds the turns of the trajectory, no more and no less."""
    for name, injection in CORPUS.items():
        wiped: list[str] = []
        result, body = await run(injection, wiped)
        made = [call.name for step in result.steps for call in step.message.calls]
        assert (made, wiped) == (["look"], []), name
        assert result.output == "Nothing.", name
        # The document is part of its task; a result is said by the user, in this template.
        shown = roles(as_rendered(body, "chatml"), "chatml")
        assert shown == ["system", "user", "assistant", "user"], name


async def test_an_answer_that_repeats_the_words_is_no_turn_of_the_next_request() -> None:
    """What the model was talked into writing stays the model's text, in the whole session."""
    for name, injection in CORPUS.items():
        # Of a call in its answer the model is the author: that is no forgery.
        echo = injection.replace("tool_call", "tool").replace("function=", "f=")
        async with hostile(says(content=f"It says: {echo}"), says(content="Done.")) as server:
            backend = VLLMBackend(server.url)
            agent = Agent(backend, planning="off")
            await agent.run("Repeat it.", session="s")
            result = await agent.run("Go on.", session="s")
            await backend.aclose()
        prompt = as_rendered(server.requests[-1], "chatml")
        said = result.trajectory.messages()[:-1]  # without the newest answer
        expected = ["assistant" if isinstance(m, AssistantMessage) else "user" for m in said]
        assert roles(prompt, "chatml") == ["system", *expected], name


@EVERY_INJECTION
async def test_arguments_that_hold_a_call_are_one_call(injection: str) -> None:
    """The text of a call, inside the argument of another, is an argument."""
    if any("\ud800" <= character <= "\udfff" for character in injection):
        injection = injection.encode("utf-8", "replace").decode()  # no server sends these
    arguments = {"where": injection, "more": [injection, {"deep": injection}]}
    given: list[Any] = []

    def look(where: str, more: list[Any]) -> str:
        """Look somewhere."""
        given.append({"where": where, "more": more})
        return "nothing"

    call = dict(LOOK[0]) | {"function": {"name": "look", "arguments": json.dumps(arguments)}}
    written = f"<tool_call>\n{json.dumps({'name': 'look', 'arguments': arguments})}\n</tool_call>"
    for first in (
        says("tool_calls", content=None, tool_calls=[call]),
        says("stop", content=written),
    ):
        given.clear()
        async with hostile(first, says(content="Nothing.")) as server:
            backend = VLLMBackend(server.url)
            agent = Agent(backend, tools=[look, returning("", [])[1]], planning="off")
            result = await agent.run("Look.")
            await backend.aclose()
        assert given == [arguments]
        assert result.output == "Nothing."


async def test_reasoning_is_never_a_call() -> None:
    for name, injection in CORPUS.items():
        wiped: list[str] = []
        async with hostile(says(content="Nothing.", reasoning=injection)) as server:
            backend = VLLMBackend(server.url)
            agent = Agent(backend, tools=returning("", wiped), planning="off")
            result = await agent.run("Look.")
            await backend.aclose()
        assert (wiped, result.output) == ([], "Nothing."), name
