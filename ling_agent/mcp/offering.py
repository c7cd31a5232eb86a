"""An agent as an MCP server: one tool, named after the agent, on stdio or streamable HTTP.

The tool takes a ``task`` and, if the client likes, the name of a ``session`` that the task goes on
with; whoever may call the tool may name any session of the agent's store. The run reports its steps
as progress, ends when the client cancels the call, and what goes wrong is told in one line.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import anyio

from ..api_keys import Key, Keys
from ..errors import ConfigurationError
from ..extras import require

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from ..agent import Agent
    from .offered import Offer

_WHY = "offering an agent over MCP"
_GRACE_SECONDS = 5.0


def run_stdio(agent: Agent[Any], *, description: str | None = None, deps: Any = None) -> int:
    """Serve the agent on this process's stdin and stdout until stdin ends; for a command line.

    A signal (Ctrl-C, SIGTERM) cancels the runs, which are kept as such, and ends the process. What
    else writes to stdout goes to stderr meanwhile, and so do log records.

    Returns:
        The exit code, 0.
    """
    require("mcp", extra="mcp", why=_WHY)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    serve = functools.partial(serve_stdio, agent, description=description, deps=deps)
    anyio.run(functools.partial(serve, end_on_signals=True))
    return 0


async def serve_stdio(
    agent: Agent[Any],
    *,
    description: str | None = None,
    deps: Any = None,
    end_on_signals: bool = False,
) -> None:
    """Serve the agent on this process's stdin and stdout until stdin ends.

    Args:
        agent: What is offered.
        description: What clients read about the tool.
        deps: Handed to the agent's tools.
        end_on_signals: Whether SIGINT and SIGTERM cancel the runs and end the process.
    """
    require("mcp", extra="mcp", why=_WHY)
    from mcp.server.stdio import stdio_server

    from .offered import Offer

    offer = Offer(agent, description=description, deps=deps)
    server = offer.server()
    async with agent.connected(), anyio.create_task_group() as group:
        if end_on_signals and sys.platform != "win32":
            await group.start(_die_on_signals, offer)
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())
        group.cancel_scope.cancel()


async def _die_on_signals(offer: Offer, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            await offer.cancel_runs(_GRACE_SECONDS)
            # A thread waits for stdin, and nothing but the end of the process wakes it.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def http_app(
    agent: Agent[Any],
    *,
    path: str = "/mcp",
    api_keys: Key | Iterable[Key] = (),
    allowed_hosts: Sequence[str] | None = None,
    description: str | None = None,
    deps: Any = None,
) -> Starlette:
    """The agent as a Starlette application that speaks MCP over streamable HTTP.

    Its lifespan has to run: a server such as uvicorn does that; in an application that it is
    mounted into, enter ``app.router.lifespan_context(app)`` in your own lifespan.

    Args:
        agent: What is offered.
        path: Where the endpoint is.
        api_keys: Keys of which a client must send one, as ``Authorization: Bearer …``; none, and
            everybody who reaches the application may call.
        allowed_hosts: Values of the ``Host`` header that are answered, ``:*`` for any port. By
            default those of this machine, or any when there are keys. It keeps web pages that a
            user visits from reaching a server on the user's machine.
        description: What clients read about the tool.
        deps: Handed to the agent's tools.

    Raises:
        ConfigurationError: A key is empty, or no header can hold it.
    """
    require("mcp", extra="mcp", why=_WHY)
    from mcp.server.transport_security import TransportSecuritySettings

    from .guard import KeyGuard
    from .offered import Offer

    keys = Keys(api_keys)
    security: TransportSecuritySettings | None = None
    if allowed_hosts is not None:
        security = TransportSecuritySettings(
            allowed_hosts=list(allowed_hosts),
            allowed_origins=[f"{scheme}://{host}" for host in allowed_hosts for scheme in _SCHEMES],
        )
    elif keys:
        security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    server = Offer(agent, description=description, deps=deps).server()
    app = server.streamable_http_app(streamable_http_path=path, transport_security=security)
    if keys:
        app.add_middleware(KeyGuard, keys=keys)
    return app


_SCHEMES = ("http", "https")


async def serve_http(
    agent: Agent[Any],
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    path: str = "/mcp",
    api_keys: Key | Iterable[Key] = (),
    allowed_hosts: Sequence[str] | None = None,
    description: str | None = None,
    deps: Any = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the agent over streamable HTTP until a signal, or the task's cancellation, ends it.

    Args:
        agent: What is offered.
        host: Address to bind; any but this machine's own needs ``api_keys``.
        port: TCP port; 0 takes a free one.
        path: As for `http_app`, like the arguments after it.
        api_keys: Keys of which a client must send one.
        allowed_hosts: Values of the ``Host`` header that are answered.
        description: What clients read about the tool.
        deps: Handed to the agent's tools.
        ready: Called with the endpoint's URL once connections are accepted.

    Raises:
        ConfigurationError: The address cannot be bound, or needs a key; a key cannot be one; or
            the event loop is trio's.
    """
    require("mcp", extra="mcp", why=_WHY)
    if not api_keys and not _is_loopback(host):
        raise ConfigurationError(
            f"host={host!r} can be reached from other machines: give api_keys, or bind 127.0.0.1"
        )
    options: Any = {"api_keys": api_keys, "allowed_hosts": allowed_hosts, "deps": deps}
    app = http_app(agent, path=path, description=description, **options)
    _require_asyncio()
    import uvicorn

    listener = _bind(host, port)
    bound = listener.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if ready is not None and self.started:
                ready(f"http://{shown}:{bound}{path}")

    config = uvicorn.Config(
        app, log_config=None, access_log=False, timeout_graceful_shutdown=int(_GRACE_SECONDS)
    )
    with listener:
        async with agent.connected():
            await Server(config).serve(sockets=[listener])


def _require_asyncio() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "serve_http needs asyncio, since uvicorn does; on trio, give http_app(agent) to a "
            "server for trio, such as hypercorn"
        ) from None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # there it would let two servers share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(socket.SOMAXCONN)
    except (OSError, OverflowError) as error:
        listener.close()
        why = (getattr(error, "strerror", None) or str(error)).rstrip(".")
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {why}; take another port (0 takes a free one)"
        ) from None
    return listener
