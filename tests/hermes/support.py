"""What the Hermes tests share: chunkings, tools, and where the acceptance material lies."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from ling_agent.hermes import (
    ArgumentsDelta,
    HermesParser,
    ParsedMessage,
    ParserEvent,
    ReasoningDelta,
    TextDelta,
    collect,
)

_BESIDE = Path(__file__).resolve().parents[3] / "shared"
SHARED = Path(os.environ.get("LING_AGENT_SHARED", _BESIDE))
DATA = Path(__file__).parent / "data"

Tool = dict[str, Any]


def tool(name: str, properties: dict[str, Any], *required: str) -> Tool:
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


WEATHER = tool("get_weather", {"city": {"type": "string"}, "days": {"type": "integer"}}, "city")
WRITE = tool(
    "write_file", {"path": {"type": "string"}, "content": {"type": "string"}}, "path", "content"
)
TIME = tool("get_time", {})
TOOLS = [WEATHER, WRITE, TIME]

OSLO = '{"name": "get_weather", "arguments": {"city": "Oslo"}}'
CALL = f"<tool_call>\n{OSLO}\n</tool_call>"
TIME_CALL = '<tool_call>\n{"name": "get_time", "arguments": {}}\n</tool_call>'


def events_of(
    chunks: Iterable[str],
    *,
    tools: list[Tool] | None = None,
    starts_in_reasoning: bool = False,
    bare_json: bool = False,
    finish_reason: str = "stop",
) -> list[ParserEvent]:
    parser = HermesParser(tools, starts_in_reasoning, bare_json)
    events: list[ParserEvent] = []
    for chunk in chunks:
        events += parser.feed(chunk)
    return events + parser.finish(finish_reason)


def chunkings(text: str, *, seed: int = 0, count: int = 3) -> Iterator[list[str]]:
    """Whole, character by character, and seeded random pieces of up to 16 characters."""
    yield [text]
    yield list(text)
    random = Random(seed)
    for _ in range(count):
        pieces: list[str] = []
        at = 0
        while at < len(text):
            size = random.randint(1, 16)
            pieces.append(text[at : at + size])
            at += size
        yield pieces


def check_deltas(events: list[ParserEvent], message: ParsedMessage) -> None:
    """The deltas joined are the message's own texts."""
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == message.content
    thoughts = [e.text for e in events if isinstance(e, ReasoningDelta)]
    assert ("".join(thoughts) if thoughts else None) == message.reasoning


def arguments_of(events: list[ParserEvent], index: int) -> str:
    deltas = [e.text for e in events if isinstance(e, ArgumentsDelta) and e.index == index]
    return "".join(deltas)


def parse_all(text: str, **options: Any) -> ParsedMessage:
    """Parse in every chunking, check that all agree, return the message."""
    messages: list[ParsedMessage] = []
    for chunks in chunkings(text):
        events = events_of(chunks, **options)
        messages.append(collect(events))
        check_deltas(events, messages[-1])
    assert all(message == messages[0] for message in messages), messages
    return messages[0]


def kinds_of(text: str, **options: Any) -> list[str]:
    return [error.kind for error in parse_all(text, **options).errors]
