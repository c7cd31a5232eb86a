"""The contenders without an agent library: a hand-written loop over `openai`, and one over httpx2.

The first is what the ratios relate to: what one writes without a library. The second is what any
client over httpx2 pays, with nothing but `json` on top. `sockets` has a third, without httpx2.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

from . import script
from .task import search_marketplace

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": script.TOOL,
            "description": "Search one page of the GPU rental offers.",
            "parameters": {
                "type": "object",
                "properties": {
                    "gpu": {"type": "string"},
                    "max_price_per_hour": {"type": "number"},
                    "page": {"type": "integer"},
                },
                "required": ["gpu", "max_price_per_hour", "page"],
            },
        },
    }
]
_USAGE = {"include_usage": True}


def begin() -> list[dict[str, Any]]:
    return [{"role": "user", "content": script.TASK}]


async def observe(messages: list[dict[str, Any]], content: str, calls: list[Any]) -> bool:
    """Append the model's message and its calls' results; whether there were any."""
    if not calls:
        return False
    messages.append({"role": "assistant", "content": content, "tool_calls": calls})
    for call in calls:
        result = await search_marketplace(**json.loads(call["function"]["arguments"]))
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
    return True


class Openai:
    """The `openai` client and a loop of 20 lines."""

    def __init__(self, url: str) -> None:
        openai: Any = import_module("openai")
        self._client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none")

    async def plain(self) -> str:
        messages = begin()
        while True:
            answer = await self._client.chat.completions.create(
                model=script.MODEL, messages=messages, tools=TOOLS
            )
            message = answer.choices[0].message
            calls = [_call(c.id, c.function.name, c.function.arguments) for c in message.tool_calls]
            if not await observe(messages, message.content, calls):
                return message.content

    async def streamed(self) -> str:
        messages = begin()
        while True:
            content, calls = "", list[dict[str, Any]]()
            stream = await self._client.chat.completions.create(
                model=script.MODEL,
                messages=messages,
                tools=TOOLS,
                stream=True,
                stream_options=_USAGE,
            )
            async for chunk in stream:
                for choice in chunk.choices:
                    content += choice.delta.content or ""
                    for piece in choice.delta.tool_calls or ():
                        if piece.id:
                            calls.append(_call(piece.id, piece.function.name, ""))
                        calls[piece.index]["function"]["arguments"] += piece.function.arguments
            if not await observe(messages, content, calls):
                return content


class ByHand(ABC):
    """The loop over bare JSON; a subclass does the HTTP."""

    @abstractmethod
    async def answer(self, body: bytes) -> dict[str, Any]:
        """The whole answer to a request."""

    @abstractmethod
    def chunks(self, body: bytes) -> AsyncIterator[dict[str, Any]]:
        """The chunks of an answer, without ``[DONE]``."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close the connections."""

    async def plain(self) -> str:
        messages = begin()
        while True:
            message = (await self.answer(_body(messages)))["choices"][0]["message"]
            if not await observe(messages, message["content"], message["tool_calls"]):
                return message["content"]

    async def streamed(self) -> str:
        messages = begin()
        while True:
            content, calls = "", list[dict[str, Any]]()
            body = _body(messages, stream=True, stream_options=_USAGE)
            async for chunk in self.chunks(body):
                for choice in chunk["choices"]:
                    delta = choice["delta"]
                    content += delta.get("content") or ""
                    for piece in delta.get("tool_calls") or ():
                        if "id" in piece:
                            calls.append(_call(piece["id"], piece["function"]["name"], ""))
                        fragment = piece["function"]["arguments"]
                        calls[piece["index"]]["function"]["arguments"] += fragment
            if not await observe(messages, content, calls):
                return content


class Httpx2(ByHand):
    """Over httpx2, and nothing else."""

    def __init__(self, url: str) -> None:
        httpx2: Any = import_module("httpx2")
        headers = {"content-type": "application/json"}
        self._client = httpx2.AsyncClient(base_url=url, timeout=60, headers=headers)

    async def answer(self, body: bytes) -> dict[str, Any]:
        response = await self._client.post("/v1/chat/completions", content=body)
        return json.loads(response.content)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def chunks(self, body: bytes) -> AsyncIterator[dict[str, Any]]:
        stream = self._client.stream("POST", "/v1/chat/completions", content=body)
        async with stream as response:
            rest = b""
            async for data in response.aiter_raw():
                *events, rest = (rest + data).split(b"\n\n")
                for event in events:
                    if event != b"data: [DONE]":
                        yield json.loads(event[6:])


def _body(messages: list[dict[str, Any]], **more: Any) -> bytes:
    request = {"model": script.MODEL, "messages": messages, "tools": TOOLS, **more}
    return json.dumps(request).encode()


def _call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
