"""A server for the tests, written with the SDK's own server class.

On stdio, or on a port of 127.0.0.1, which it writes to a file. ``--old`` refuses the newer
protocol, as servers of 2025 do. What a test looks at from outside is written into the files of
a folder, ``--state``.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from mcp.server.lowlevel.server import NotificationOptions
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.runner import serve_loop
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INVALID_PARAMS,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
)
from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send

state_folder = Path(".")


class Weather(BaseModel):
    """What `weather` returns."""

    city: str
    degrees: float


def record(name: str, text: str = "") -> None:
    """Append a line to a file of the folder that the test watches."""
    with (state_folder / name).open("a") as file:
        file.write(text + "\n")


def recorded(name: str) -> list[str]:
    """The lines of such a file."""
    return (state_folder / name).read_text().splitlines()


def make_server() -> MCPServer[Any]:
    """The server with its tools."""
    server: MCPServer[Any] = MCPServer("bench")
    _add_plain(server)
    _add_contents(server)
    _add_lives(server)
    return server


def _add_plain(server: MCPServer[Any]) -> None:
    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @server.tool()
    def weather(city: str) -> Weather:
        """The weather."""
        return Weather(city=city, degrees=21.5)

    @server.tool()
    def echo(ctx: str, self: str, name: str = "") -> str:
        """Arguments whose names a careless caller would trip over."""
        return f"{ctx}|{self}|{name}"

    @server.tool(annotations=ToolAnnotations(destructive_hint=True))
    def wipe(path: str) -> str:
        """Delete something."""
        return f"wiped {path}"

    @server.tool()
    def fail(reason: str) -> str:
        """Fail."""
        raise ToolError(reason)

    @server.tool()
    def environment(name: str) -> str:
        """A variable of the server's environment."""
        value = os.environ.get(name, "(not set)")
        print(f"{name} is {value}", file=sys.stderr, flush=True)
        return value

    @server.tool()
    def blame(name: str) -> str:
        """Fail with a variable of the environment."""
        raise ToolError(f"cannot use {os.environ.get(name)}")

    @server.tool()
    async def meet(count: int, key: str) -> str:
        """Wait until so many calls are here at once."""
        record(key)
        while len(recorded(key)) < count:  # noqa: ASYNC110 - the others may be other processes
            await anyio.sleep(0.01)
        return key

    @server.tool()
    def pid() -> int:
        """The server's process."""
        return os.getpid()

    @server.tool()
    def cwd() -> str:
        """The working directory."""
        return str(Path.cwd())


def _add_contents(server: MCPServer[Any]) -> None:
    @server.tool(structured_output=False)
    def album() -> CallToolResult:
        """Contents of every kind."""
        page = TextResourceContents(uri="file:///notes.txt", mime_type="text/plain", text="Notes.")
        return CallToolResult(
            content=[
                TextContent(text="Here it is."),
                ImageContent(data="aGVsbG8=", mime_type="image/png"),
                ResourceLink(name="page", uri="https://example.org/page", mime_type="text/html"),
                EmbeddedResource(resource=page),
            ]
        )

    @server.tool(structured_output=False)
    def both() -> CallToolResult:
        """A text and data that say different things."""
        return CallToolResult(
            content=[TextContent(text="Two offers.")], structured_content={"offers": [1, 2]}
        )

    @server.tool()
    def refuse() -> str:
        """Refuse the request itself."""
        raise MCPError(INVALID_PARAMS, "not\nlike this")

    @server.tool(structured_output=False)
    def silence(failed: bool = False) -> CallToolResult:
        """Nothing at all."""
        return CallToolResult(content=[], is_error=failed)


def _add_lives(server: MCPServer[Any]) -> None:
    @server.tool()
    async def count(steps: int, ctx: Context[Any]) -> str:
        """Report progress."""
        for step in range(steps):
            await ctx.report_progress(step + 1, steps, f"step {step + 1}")
        return "counted"

    @server.tool()
    async def hang() -> str:
        """Hang until cancelled."""
        record("hanging")
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            record("cancelled")
            raise
        return ""

    @server.tool()
    async def die(key: str) -> str:
        """End the server's process in the middle of the first call with this key."""
        record(key)
        if len(recorded(key)) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return "survived"

    server.add_tool(die, name="die_once", annotations=ToolAnnotations(idempotent_hint=True))

    @server.tool()
    def forget(word: str) -> str:
        """Offer a tool no longer."""
        server.remove_tool(word)
        return "forgotten"

    @server.tool()
    async def learn(word: str, ctx: Context[Any]) -> str:
        """Offer one more tool from now on."""

        def learned() -> str:
            return word

        server.add_tool(learned, name=word, description="Learned.")
        await ctx.notify_tools_changed()
        await ctx.request_context.session.send_tool_list_changed()
        return "learned"


async def serve_old_stdio(server: MCPServer[Any]) -> None:
    """On stdio, with the handshake only."""
    low = server._lowlevel_server  # pyright: ignore[reportPrivateUsage]
    options = low.create_initialization_options(NotificationOptions(tools_changed=True))
    async with stdio_server() as (read, write), low.lifespan(low) as state:
        await serve_loop(low, read, write, lifespan_state=state, init_options=options)


class OldHTTP:
    """The ASGI application of a server that knows the handshake only, with its sessions."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", []))
        if scope["type"] == "http":
            record("methods", scope["method"])
        if headers.get(b"mcp-protocol-version", b"").startswith(b"2026"):
            await send({"type": "http.response.start", "status": 400, "headers": []})
            await send({"type": "http.response.body", "body": b"unknown protocol version"})
            return
        await self._app(scope, receive, send)


class Guarded:
    """An ASGI application that wants a key."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", []))
        if scope["type"] == "http" and headers.get(b"authorization") != b"Bearer " + self._key:
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b"who are you?"})
            return
        await self._app(scope, receive, send)


async def serve_http(server: MCPServer[Any], port_file: Path, args: argparse.Namespace) -> None:
    """Serve, and write the port to the file when connections are accepted."""
    app: ASGIApp = server.streamable_http_app()
    if args.old:
        app = OldHTTP(app)
    if args.key:
        app = Guarded(app, args.key)
    config = uvicorn.Config(app, port=args.port, log_config=None, timeout_graceful_shutdown=1)
    http = uvicorn.Server(config)

    async def announce() -> None:
        while not http.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await anyio.sleep(0.01)
        port = http.servers[0].sockets[0].getsockname()[1]
        partial = port_file.with_suffix(".partial")
        partial.write_text(str(port))
        partial.rename(port_file)

    async with anyio.create_task_group() as group:
        group.start_soon(announce)
        await http.serve()
        group.cancel_scope.cancel()


def main() -> None:
    """Read the command line and serve."""
    global state_folder
    parser = argparse.ArgumentParser()
    parser.add_argument("--http", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--old", action="store_true")
    parser.add_argument("--key")
    parser.add_argument("--noisy", action="store_true", help="write to stdout what is no message")
    parser.add_argument("--stubborn", action="store_true", help="end for SIGKILL only")
    parser.add_argument("--once", action="store_true", help="start once and never again")
    parser.add_argument("--state", type=Path, default=Path("."))
    args = parser.parse_args()
    state_folder = args.state
    record("tried")
    if args.once and (state_folder / "begun").exists():
        sys.exit("bench does not begin twice")
    record("begun", str(os.getpid()))
    if args.noisy:
        print("Welcome to bench!", flush=True)
    if args.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server = make_server()
    print("bench begins", file=sys.stderr, flush=True)
    if args.http:
        anyio.run(serve_http, server, args.http, args)
    elif args.old:
        anyio.run(serve_old_stdio, server)
    else:
        server.run()
    while args.stubborn:
        time.sleep(1)


if __name__ == "__main__":
    main()
