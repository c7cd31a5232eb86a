"""What the tests of whole runs share: tools that remember, and messages in any shape."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from ling_agent import Agent, Limits, RunResult, Sampling
from ling_agent.agent import ToolLike
from ling_agent.backends import SGLangBackend, VLLMBackend
from ling_agent.messages import AssistantMessage

from .hostile import Exchange, Handler, delta, events, hostile, message, usage

SGLANG: dict[str, object] = {
    "/v1/models": {"data": [{"id": "m", "owned_by": "sglang", "max_model_len": 8192}]},
    "/server_info": {"version": "0.5.23", "tool_call_parser": "qwen"},
}
TAGGED = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>'
SAMPLING = Sampling(max_tokens=100)
BOTH = pytest.mark.parametrize("kind", ["vllm", "sglang"])
STREAMED = pytest.mark.parametrize("stream", [True, False])


class Tools:
    """Tools that remember how they were called."""

    def __init__(self) -> None:
        self.made: list[object] = []

    @property
    def all(self) -> Sequence[ToolLike]:
        def add(a: int, b: int) -> int:
            """Add two numbers."""
            self.made.append((a, b))
            return a + b

        def look(where: str = "here") -> str:
            """Look around."""
            self.made.append(where)
            return "nothing"

        def now() -> str:
            """Tell the time."""
            self.made.append("now")
            return "noon"

        return [add, look, now]


@dataclass
class Ran:
    """A run that is over: its result, what the tools were given, what the server was asked."""

    result: RunResult
    made: list[object]
    requests: list[Any]

    @property
    def notes(self) -> str:
        return "\n".join(self.result.notes)

    @property
    def first(self) -> AssistantMessage:
        return self.result.steps[0].message


async def run(
    *handlers: Handler,
    kind: str = "vllm",
    stream: bool = True,
    limits: Limits | None = None,
    constrain: bool = True,
) -> Ran:
    routes = SGLANG if kind == "sglang" else {}
    tools = Tools()
    async with hostile(*handlers, routes=routes) as server:
        make = SGLangBackend if kind == "sglang" else VLLMBackend
        backend = make(server.url, stream=stream, constrain=constrain)
        agent = Agent(
            backend,
            tools=tools.all,
            planning="off",
            limits=limits,
            sampling=Sampling(max_tokens=100),
        )
        result = await agent.run("What is 1 + 2?")
        await backend.aclose()
    return Ran(result, tools.made, server.requests)


def says(finish: str = "stop", *, tokens: int = 5, **fields: Any) -> Handler:
    """A handler that sends this message in the way in which it is asked for."""

    async def handler(exchange: Exchange) -> None:
        if exchange.json["stream"]:
            first = {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}
            each = (delta(role="assistant", content=""), first, delta(finish))
            await events(*each, usage(completion=tokens))(exchange)
        else:
            await exchange.respond(message(finish, tokens=tokens, **fields))

    return handler


def piece(arguments: object, name: str | None = "add", **more: object) -> dict[str, Any]:
    """A delta's call, or a part of one."""
    function = {"arguments": arguments} | ({} if name is None else {"name": name})
    return {"index": 0, "id": "c0", "type": "function", "function": function} | more


def calls(*each: dict[str, Any], tokens: int = 5) -> Handler:
    """A handler that sends these calls, whole."""
    return says("tool_calls", tokens=tokens, content=None, tool_calls=list(each))


GOOD = calls(piece('{"a": 1, "b": 2}'))
DONE = says(content="It is 3.")


def forced(body: dict[str, Any]) -> bool:
    """Whether a call is required, in whichever way the server takes."""
    tag = json.loads(body.get("structured_outputs", {}).get("structural_tag", "{}"))
    return bool(body["tool_choice"] == "required" or tag.get("format", {}).get("at_least_one"))
