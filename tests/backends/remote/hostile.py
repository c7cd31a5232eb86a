"""A loopback server that does what a test tells it, byte by byte: what no real server can be asked.

It speaks HTTP/1.1 by hand, so that it can also break it. Discovery is answered as vLLM does.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import anyio
import anyio.abc

Handler = Callable[["Exchange"], Awaitable[None]]

MODELS = {"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 8192}]}


@dataclass
class Exchange:
    """One request and the connection that it came on."""

    stream: anyio.abc.SocketStream
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    async def send(self, data: bytes) -> None:
        await self.stream.send(data)

    async def respond(
        self,
        body: object,
        *,
        status: int = 200,
        content_type: str = "application/json",
        **more: str,
    ) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in more.items())
        await self.send(
            f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\n"
            f"content-length: {len(data)}\r\n{extra}\r\n".encode()
            + data
        )

    async def begin_events(self) -> None:
        await self.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )

    async def event(self, data: object) -> None:
        text = data if isinstance(data, str) else json.dumps(data)
        await self.chunk(f"data: {text}\n\n".encode())

    async def chunk(self, data: bytes) -> None:
        await self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def end_events(self) -> None:
        await self.chunk(b"data: [DONE]\n\n")
        await self.send(b"0\r\n\r\n")


def delta(finish: str | None = None, **fields: object) -> dict[str, Any]:
    """An event as vLLM streams it."""
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def usage(prompt: int = 10, completion: int = 5, cached: int | None = 0) -> dict[str, Any]:
    """The last event of a stream."""
    details = None if cached is None else {"cached_tokens": cached}
    return {
        "choices": [],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "prompt_tokens_details": details,
        },
    }


def message(finish: str = "stop", *, tokens: int = 5, **fields: object) -> dict[str, Any]:
    """An answer in one piece."""
    choice = {"index": 0, "message": {"role": "assistant", **fields}, "finish_reason": finish}
    return {"choices": [choice], "usage": usage(completion=tokens)["usage"]}


def events(*each: object) -> Handler:
    """A handler that streams these and ends as it should."""

    async def handler(exchange: Exchange) -> None:
        await exchange.begin_events()
        for event in each:
            await exchange.event(event)
        await exchange.end_events()

    return handler


def answer(body: object, **more: Any) -> Handler:
    """A handler that sends a whole response."""

    async def handler(exchange: Exchange) -> None:
        await exchange.respond(body, **more)

    return handler


def text_reply(text: str = "Hello.") -> Handler:
    """A handler that streams a text."""
    return events(delta(role="assistant", content=""), delta(content=text), delta("stop"), usage())


@dataclass
class HostileServer:
    """Answers completions by its handlers, one each, the last one for ever.

    Attributes:
        requests: Bodies of the completions that were asked for.
        keys: The ``authorization`` headers that came.
        open: Connections that are open now.
        opened: Connections that were opened so far.
        left: Completions whose client went away before the answer had ended.
    """

    handlers: Sequence[Handler]
    routes: dict[str, object] = field(default_factory=dict[str, object])
    requests: list[Any] = field(default_factory=list[Any])
    keys: list[str | None] = field(default_factory=list[str | None])
    open: int = 0
    opened: int = 0
    left: int = 0
    url: str = ""

    async def serve(self, stream: anyio.abc.SocketStream) -> None:
        self.open += 1
        self.opened += 1
        try:
            async with stream:
                buffered = b""
                while True:
                    head, buffered = await _until(stream, buffered, b"\r\n\r\n")
                    lines = head.decode().split("\r\n")
                    method, path, _ = lines[0].split(" ")
                    headers = {
                        k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:] if line)
                    }
                    size = int(headers.get("content-length", "0"))
                    while len(buffered) < size:
                        buffered += await stream.receive()
                    body, buffered = buffered[:size], buffered[size:]
                    await self._handle(Exchange(stream, method, path, headers, body))
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        finally:
            self.open -= 1

    async def _handle(self, exchange: Exchange) -> None:
        self.keys.append(exchange.headers.get("authorization"))
        if exchange.path.endswith("/completions"):
            self.requests.append(exchange.json)
            handler = self.handlers[min(len(self.requests), len(self.handlers)) - 1]
            try:
                await handler(exchange)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                self.left += 1
                raise
        elif exchange.path in self.routes:
            route = self.routes[exchange.path]
            if callable(route):
                await cast("Handler", route)(exchange)
            else:
                await exchange.respond(route)
        elif exchange.path == "/v1/models":
            await exchange.respond(MODELS)
        elif exchange.path == "/version":
            await exchange.respond({"version": "0.32.0"})
        else:
            await exchange.respond({"detail": "Not Found"}, status=404)


async def _until(
    stream: anyio.abc.SocketStream, buffered: bytes, end: bytes
) -> tuple[bytes, bytes]:
    while end not in buffered:
        buffered += await stream.receive()
        if buffered and not buffered[:1].isalpha():  # TLS: as every server does
            await stream.send(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
            raise anyio.EndOfStream
    head, _, rest = buffered.partition(end)
    return head, rest


@asynccontextmanager
async def hostile(
    *handlers: Handler, routes: dict[str, object] | None = None
) -> AsyncGenerator[HostileServer, None]:
    """Serve on a free loopback port until the context is left."""
    server = HostileServer(handlers or (text_reply(),), routes or {})
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    server.url = f"http://127.0.0.1:{port}"
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, server.serve)
        yield server
        group.cancel_scope.cancel()
