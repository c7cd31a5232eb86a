"""What the tests on real servers share: tools, questions, and a look at the server's metrics."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import httpx2

from ling_agent import Agent, Limits, Sampling, Tool
from ling_agent.backends import Backend, ModelRequest, SGLangBackend, VLLMBackend
from ling_agent.backends.base import Chunk, Finished, TextChunk, ToolChoice
from ling_agent.messages import Message, SystemMessage, UserMessage
from scripts.servers.launch import LocalServer

_RUNNING = r"^vllm:num_requests_running(?:\{[^}]*\})?\s+([\d.e+]+)$"

TWO_CALLS = (
    "For each calculation make one tool call. Write like this:\n"
    '<tool_call>\n{"name": "add", "arguments": {"a": 5, "b": 5}}\n</tool_call>\n'
    '<tool_call>\n{"name": "add", "arguments": {"a": 6, "b": 6}}\n</tool_call>'
)
"""Instructions with which the 0.5B, made to call, calls twice."""


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def _paint(colour: str) -> str:
    return f"The wall is {colour}."


PAINT = Tool.from_schema(
    "paint",
    "Paint the wall.",
    {
        "type": "object",
        "properties": {"colour": {"type": "string", "enum": ["red", "green"]}},
        "required": ["colour"],
    },
    _paint,
)
SCHEMAS: tuple[Mapping[str, Any], ...] = (
    Tool.from_function(add).openai_schema(),
    PAINT.openai_schema(),
)


def backend_for(server: LocalServer, **options: Any) -> VLLMBackend | SGLangBackend:
    """A backend on this server."""
    kind = VLLMBackend if server.kind.name == "vllm" else SGLangBackend
    return kind(server.url, **options)


def short_agent(server: LocalServer, *tools: Callable[..., Any], **options: Any) -> Agent:
    """An agent whose runs end soon, whatever the model does: it writes ten tokens a second."""
    return Agent(
        backend_for(server, **options),
        tools=tools,
        planning="off",
        limits=Limits(max_steps=3, max_tool_calls=1),
        sampling=Sampling(max_tokens=64),
    )


def question(
    text: str,
    *,
    instructions: str = "",
    choice: ToolChoice = "auto",
    max_tokens: int = 96,
    tools: tuple[Mapping[str, Any], ...] = SCHEMAS,
    conversation: str = "",
) -> ModelRequest:
    """A greedy request."""
    messages: tuple[Message, ...] = (UserMessage(text),)
    if instructions:
        messages = (SystemMessage(instructions), *messages)
    return ModelRequest(
        messages,
        tools=tools,
        sampling=Sampling(max_tokens=max_tokens),
        tool_choice=choice,
        conversation=conversation,
    )


async def ask(backend: Backend, request: ModelRequest) -> tuple[str, Finished]:
    """The text of the answer, calls and all, and its end."""
    chunks: list[Chunk] = []
    async with backend.stream(request) as stream:
        chunks = [chunk async for chunk in stream]
    end = chunks[-1]
    assert isinstance(end, Finished)
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk)), end


async def running(server: LocalServer) -> int:
    """Requests that the server says it is working on."""
    async with httpx2.AsyncClient(trust_env=False, base_url=server.url, timeout=30) as client:
        if server.kind.name == "sglang":  # its metrics are written only now and then
            loads = (await client.get("/v1/loads")).raise_for_status().json()["loads"]
            return sum(load["num_running_reqs"] for load in loads)
        text = (await client.get("/metrics")).raise_for_status().text
    found = re.findall(_RUNNING, text, re.MULTILINE)
    assert found, "the server does not report its running requests"
    return round(sum(map(float, found)))


async def until_running(server: LocalServer, count: int, *, within: float = 30.0) -> None:
    """Wait until the server works on that many requests."""
    seen = -1
    with anyio.move_on_after(within):
        while (seen := await running(server)) != count:  # noqa: ASYNC110 - a metric has no event
            await anyio.sleep(0.1)
    assert seen == count, f"the server works on {seen} requests, not {count}"
