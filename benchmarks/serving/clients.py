"""Clients that read streams over bare sockets, check every byte and note when each piece came."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from .agents import pieces

_KINDS_BEFORE = (
    "run_started",
    "step_started",
    "call_started",
    "arguments_delta",
    "call_parsed",
    "tool_started",
    "tool_finished",
    "step_finished",
    "step_started",
)
_KINDS_BEHIND = ("step_finished", "run_finished")


@dataclass(frozen=True, slots=True)
class Load:
    """How much is asked for.

    Attributes:
        clients: Streams at once.
        pieces: Pieces of text a stream.
        gap: Seconds between two of them.
    """

    clients: int
    pieces: int
    gap: float


@dataclass(slots=True)
class Seen:
    """What all clients of a round have seen.

    Attributes:
        late: Seconds from when a piece was due until its client had read it.
        read: Streams that were right to the end.
        left: Streams that their client has left.
        events: Events that were read.
        errors: What was wrong, one line each.
    """

    late: list[float] = field(default_factory=list[float])
    read: int = 0
    left: int = 0
    events: int = 0
    errors: list[str] = field(default_factory=list[str])


async def read_streams(port: int, load: Load, leaving: float = 0.0) -> Seen:
    """Read all streams at once.

    Args:
        port: Of the server.
        load: How many, and how long.
        leaving: Share of the clients that break off somewhere in their stream.
    """
    seen, chosen = Seen(), random.Random(load.clients)
    last = load.pieces + len(_KINDS_BEFORE)
    leave_at = [
        chosen.randrange(last) if number < round(load.clients * leaving) else None
        for number in range(load.clients)
    ]
    chosen.shuffle(leave_at)
    # Spread over one gap, as clients are: together they would all be due in the same instant.
    tasks = [
        _read(port, number, load, seen, at, number * load.gap / load.clients)
        for number, at in enumerate(leave_at)
    ]
    await asyncio.gather(*tasks)
    return seen


async def _read(
    port: int, number: int, load: Load, seen: Seen, leave_at: int | None, delay: float
) -> None:
    await asyncio.sleep(delay)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(_request(number, load))
            if await _check(reader, number, load, seen, leave_at):
                seen.read += 1
            else:
                seen.left += 1
        finally:
            writer.transport.abort()
    except (OSError, EOFError, ValueError, KeyError, IndexError) as error:
        seen.errors.append(f"client {number}: {type(error).__name__}: {error}")


async def _check(
    reader: asyncio.StreamReader, number: int, load: Load, seen: Seen, leave_at: int | None
) -> bool:
    """Read a stream; False when it was left on purpose."""
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise ValueError(head.split(b"\r\n")[0].decode())
    expected = pieces(number, load.pieces)
    kinds = (*_KINDS_BEFORE, *["text_delta"] * load.pieces, *_KINDS_BEHIND)
    content, start, stream = "", 0.0, _Events(reader)
    for sequence, kind in enumerate(kinds):
        if sequence == leave_at:
            return False
        chunk: dict[str, Any] = json.loads(await stream.next())
        came = time.monotonic()
        told, delta = chunk["ling_agent"], chunk["choices"][0]["delta"]
        if (told["sequence"], told["event"]["type"]) != (sequence, kind):
            raise ValueError(f"event {told['sequence']} is {told['event']['type']}, not {kind}")
        seen.events += 1
        content += delta.get("content") or ""
        if kind == "text_delta":
            place = sequence - len(_KINDS_BEFORE)
            text: str = told["event"]["text"]
            start = start or float(text.rstrip(";"))
            if place and text != expected[place - 1]:
                raise ValueError(f"piece {place} is {text!r}, not {expected[place - 1]!r}")
            seen.late.append(came - start - place * load.gap)
    if content != f"{start:.6f};{''.join(expected)}":
        raise ValueError("the content is not what the model wrote")
    if await stream.next() != b"[DONE]":
        raise ValueError("the stream does not end as it should")
    return True


class _Events:
    """The server-sent events of a response; an HTTP chunk holds whole ones."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._waiting: deque[bytes] = deque()

    async def next(self) -> bytes:
        """The data of the next one."""
        if not self._waiting:
            size = int(await self._reader.readline(), 16)
            chunk = await self._reader.readexactly(size + 2)
            *blocks, rest = chunk[:-2].split(b"\n\n")
            if rest:
                raise ValueError(f"no whole event: {rest[:50]!r}")
            self._waiting += blocks
        block = self._waiting.popleft()
        if not block.startswith(b"data: "):
            raise ValueError(f"no event: {block[:50]!r}")
        return block[6:]


def _request(number: int, load: Load) -> bytes:
    task = f"schedule {number} {load.pieces} {load.gap}"
    body = {"model": "scheduled", "stream": True, "messages": [{"role": "user", "content": task}]}
    data = json.dumps(body).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data
