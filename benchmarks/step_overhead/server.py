"""The scripted server, a process of its own: ``python -m benchmarks.step_overhead.server``.

It prints its port and serves until its standard input ends, which also happens when the benchmark
dies. Answers are rendered once, before the first request. A streamed answer's chunks are written
one by one with a gap between them: a client whose chunks arrive together would parse them together,
and no real server writes them that fast.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from functools import partial
from http import HTTPStatus
from typing import Any

from . import script

GAP_MS = 1.0
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


def _json_response(body: object, status: HTTPStatus = HTTPStatus.OK) -> bytes:
    data = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
    head = (
        f"HTTP/1.1 {status} {status.phrase}\r\nserver: uvicorn\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def _event(data: str) -> bytes:
    """A server-sent event as one HTTP chunk."""
    event = f"data: {data}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(event), event)


def _stream(step: int, usage: bool) -> tuple[bytes, ...]:
    """The events, which are written one by one."""
    said = [json.dumps(c, separators=(",", ":")) for c in script.chunks(step, usage=usage)]
    return (*map(_event, said), _event("[DONE]"))


_PAGES = {
    ("GET", "/health"): _json_response(None),
    ("GET", "/version"): _json_response({"version": script.VERSION}),
    ("GET", "/v1/models"): _json_response(script.models()),
}
_NOT_FOUND = _json_response({"detail": "Not Found"}, HTTPStatus.NOT_FOUND)
_BAD_REQUEST = _json_response({"detail": "no chat completion request"}, HTTPStatus.BAD_REQUEST)
_PLAIN = tuple(_json_response(script.answer(step)) for step in range(script.STEPS))
_STREAMED = {
    (step, usage): _stream(step, usage) for step in range(script.STEPS) for usage in (False, True)
}


async def _serve(gap: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, kept alive until the client closes it."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            method, path, body = await _request(head, reader)
            if (method, path) != ("POST", "/v1/chat/completions"):
                writer.write(_PAGES.get((method, path), _NOT_FOUND))
            else:
                await _complete(body, gap, writer)
    except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        pass  # the client has gone, or the server ends: asyncio would print a cancellation
    finally:
        writer.close()


async def _request(head: bytes, reader: asyncio.StreamReader) -> tuple[str, str, bytes]:
    """Method, path without a query, and body; bodies have a length, as every client here sends."""
    first, *fields = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    length = 0
    for line in fields:
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            length = int(value)
    return method, target.partition("?")[0], await reader.readexactly(length)


async def _complete(body: bytes, gap: float, writer: asyncio.StreamWriter) -> None:
    try:
        request: dict[str, Any] = json.loads(body)
        step = min(script.step_of(request), script.TOOL_STEPS)
    except (ValueError, KeyError, AttributeError, TypeError):
        writer.write(_BAD_REQUEST)
        return
    if not request.get("stream"):
        writer.write(_PLAIN[step])
        return
    options: dict[str, Any] = request.get("stream_options") or {}
    writer.write(_STREAM_HEAD)
    for event in _STREAMED[step, bool(options.get("include_usage"))]:
        await asyncio.sleep(gap)
        writer.write(event)  # nothing is buffered before it: this sends
    writer.write(b"0\r\n\r\n")  # a write of its own, as uvicorn does it


async def _main(gap: float) -> None:
    server = await asyncio.start_server(partial(_serve, gap), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--gap-ms", type=float, default=GAP_MS, help="between two chunks")
    asyncio.run(_main(options.parse_args().gap_ms / 1000))
