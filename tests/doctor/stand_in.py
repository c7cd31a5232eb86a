"""A server that can be told how to be faulty: it answers by what is asked, as vLLM does."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from tests.backends.remote.hostile import (
    Exchange,
    HostileServer,
    answer,
    delta,
    hostile,
)

LINES = "Line 32: the code of box 32 is 2408.\nLine 33: the code of box 33 is 1327."


@dataclass
class StandIn:
    """How the server behaves; the defaults are a good one.

    Attributes:
        parser: What becomes of a call: ``reads`` it; ``refuses`` the request (400 without
            ``--enable-auto-tool-choice``); sends it as ``text`` with its tags; ``loses`` it;
            announces it ``empty``; takes it for ``reasoning``; the model writes it ``bare``, or as
            bare JSON that is ``bare-text`` in tags when it is held to a call, or only ``words``.
        names: Obeys a ``tool_choice`` that names a tool; None refuses it.
        holds: Holds calls to their schema; None refuses it.
        streams: ``same``; ``empty`` arguments; other ``text``; ``at-once``; ``nothing``.
        usage: ``always``, ``whole`` (not in streams) or ``never``.
        cached: Cached tokens that it tells of a prompt it has seen.
        reports: Tells cached tokens at all.
        drifts: The second answer to the long prompt differs.
        random: Every answer differs.
        draws: Every answer differs to a question that comes without a temperature.
        waits: Seconds before the first event of a stream.
        overloaded: Completions are refused with 429.
        asked: Bodies of the completions so far.
    """

    parser: str = "reads"
    names: bool | None = True
    holds: bool | None = True
    streams: str = "same"
    usage: str = "always"
    cached: int = 512
    reports: bool = True
    drifts: bool = False
    random: bool = False
    draws: bool = False
    waits: float = 0.0
    overloaded: bool = False
    asked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    async def __call__(self, exchange: Exchange) -> None:
        body = exchange.json
        seen = self.asked.count(body)
        self.asked.append(body)
        if refusal := self._refusal(body):
            status, reason = refusal
            await exchange.respond({"error": {"message": reason}}, status=status)
            return
        message, finish = self._message(body, seen)
        usage = self._usage(seen)
        if body["stream"]:
            await self._stream(exchange, message, finish, usage)
            return
        told = {} if self.usage == "never" else {"usage": usage}
        choice = {"index": 0, "message": message, "finish_reason": finish}
        await exchange.respond({"choices": [choice], **told})

    def _refusal(self, body: dict[str, Any]) -> tuple[int, str] | None:
        if self.overloaded:
            return 429, "too many requests"
        if not body.get("tools"):
            return None
        if self.parser == "refuses" and body["tool_choice"] == "auto":
            return 400, '"auto" tool choice requires --enable-auto-tool-choice to be set'
        if self.parser == "no-tools":
            return 400, "this model does not support tools"
        if self.names is None and isinstance(body["tool_choice"], dict):
            return 400, "tool_choice is not supported"
        if self.holds is None and _held(body):
            return 400, "structured outputs are not supported"
        return None

    def _message(self, body: dict[str, Any], seen: int) -> tuple[dict[str, Any], str]:
        if self.draws and "temperature" not in body:
            return {"content": f"river, lamp, word {len(self.asked)}"}, "stop"
        if not body.get("tools"):
            changed = self.random or (self.drifts and seen == 1 and len(str(body)) > 2000)
            text = LINES.replace("2408", "9999") if changed and seen else LINES
            return {"content": text}, "stop"
        name, arguments = self._call(body)
        if self.random:
            arguments["city"] += "!" * len(self.asked)
        call = json.dumps({"name": name, "arguments": arguments})
        tagged = f"<tool_call>\n{call}\n</tool_call>"
        held = _held(body) and self.holds
        forced = body["tool_choice"] not in ("auto", "none")
        if self.parser == "words":
            return {"content": "It is sunny."}, "stop"
        if self.parser in ("text", "refuses") or (self.parser == "bare-text" and held):
            return {"content": tagged}, "stop"
        if self.parser.startswith("bare") and not held and not forced:
            return {"content": call}, "stop"
        if self.parser == "reasoning":
            return {"content": None, "reasoning": tagged}, "stop"
        if self.parser == "loses":
            return {"content": ""}, "stop"
        written = "{}" if self.parser == "empty" else json.dumps(arguments)
        function = {"name": name, "arguments": written}
        calls = [{"index": 0, "id": "c1", "type": "function", "function": function}]
        return {"content": None, "tool_calls": calls}, "tool_calls"

    def _call(self, body: dict[str, Any]) -> tuple[str, dict[str, str]]:
        choice = body["tool_choice"]
        if isinstance(choice, dict) and self.names:
            return choice["function"]["name"], {"city": "Paris"}  # pyright: ignore[reportUnknownVariableType]
        kelvin = "kelvin" in body["messages"][0]["content"] and not (_held(body) and self.holds)
        return "get_weather", {"city": "Paris", "unit": "kelvin" if kelvin else "celsius"}

    def _usage(self, seen: int) -> dict[str, Any]:
        usage: dict[str, Any] = {"prompt_tokens": 600, "completion_tokens": 40}
        if self.reports:
            usage["prompt_tokens_details"] = {"cached_tokens": self.cached if seen else 0}
        return usage

    async def _stream(
        self, exchange: Exchange, message: dict[str, Any], finish: str, usage: dict[str, Any]
    ) -> None:
        await exchange.begin_events()
        await anyio.sleep(self.waits)
        calls = message.get("tool_calls")
        content = message.get("content") or ""
        if self.streams == "text" and content:
            content = content.replace("box", "fox")
        if self.streams == "empty" and calls:
            calls[0]["function"]["arguments"] = "{}"
        if self.streams == "nothing":
            content = ""
        events = [delta(content=content)]
        if self.streams != "at-once":
            middle = len(content) // 2
            events = [delta(content=content[:middle]), delta(content=content[middle:])]
        if calls:
            events = [delta(tool_calls=calls)]
        if message.get("reasoning"):
            events.insert(0, delta(reasoning=message["reasoning"]))
        # Long enough that pieces of a text do not arrive as one on a busy machine.
        pause = 0.005 if calls else 0.03
        for event in events:
            await exchange.event(event)
            await anyio.sleep(pause)
        await exchange.event(delta(finish))
        if self.usage == "always":
            await exchange.event({"choices": [], "usage": usage})
        await exchange.end_events()


def _held(body: dict[str, Any]) -> bool:
    strict = any(tool["function"].get("strict") for tool in body["tools"])
    return strict or "structured_outputs" in body or "response_format" in body


def models(*names: str, owner: str = "vllm", window: int | None = 32_768) -> dict[str, Any]:
    """What ``/v1/models`` answers."""
    return {"data": [{"id": name, "owned_by": owner, "max_model_len": window} for name in names]}


def sglang(model: str = "m", **info: object) -> dict[str, object]:
    """The routes of an SGLang server."""
    return {
        "/v1/models": models(model, owner="sglang"),
        "/server_info": {"version": "0.5.23", "tool_call_parser": "qwen", **info},
        "/version": answer({"detail": "Not Found"}, status=404),
    }


def vllm(model: str, version: str = "0.32.0", window: int | None = 32_768) -> dict[str, object]:
    """The routes of a vLLM server."""
    return {"/v1/models": models(model, window=window), "/version": {"version": version}}


@asynccontextmanager
async def serving(
    stand_in: StandIn, routes: dict[str, object] | None = None
) -> AsyncGenerator[HostileServer, None]:
    """Serve it until the context is left."""
    async with hostile(stand_in, routes=routes) as server:
        yield server
