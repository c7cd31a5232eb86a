"""`MCPServer`: the tools of an MCP server, as one of an agent's `tools`."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from ..errors import ConfigurationError
from ..extras import require
from .hiding import Given, Hider, confidential
from .offers import ApprovalRule, Choice, Selection
from .toolmaking import Options, make_tools

if TYPE_CHECKING:
    from ..tools import Tool
    from .connection import Connection
    from .endpoint import Endpoint

_log = logging.getLogger("ling_agent.mcp")

CALL_TIMEOUT = 60.0
CONNECT_TIMEOUT = 30.0


class ServerOptions(TypedDict, total=False):
    """What both kinds of servers take; see `MCPServer`."""

    prefix: str
    include: Choice | None
    exclude: Choice | None
    requires_approval: ApprovalRule
    timeout: float | None
    connect_timeout: float
    max_result_tokens: int | None


@dataclass
class _Held:
    """The connection that `async with server` keeps in one event loop."""

    connection: Connection
    context: AbstractAsyncContextManager[Connection]


class MCPServer:
    """A server of the Model Context Protocol, given to an agent as one of its ``tools``.

    Make one with `stdio` or `http`. Without further ado each run opens a connection of its own and
    closes it at its end. Inside ``async with server:`` there is one connection, kept open and
    shared by all runs in that event loop; a run in another loop opens its own.

    All options are those of both classmethods:

    - ``prefix``: put before each tool's name, with a ``_`` between.
    - ``include``, ``exclude``: names as the server has them, or a function of an `MCPTool`.
    - ``requires_approval``: True for all, names, or a function of an `MCPTool` and the arguments,
      such as `may_destroy`.
    - ``timeout``: seconds that a call may take, 60 by default; None for no limit.
    - ``connect_timeout``: seconds until the server has to answer, 30 by default.
    - ``max_result_tokens``: longest result that the model is shown.
    """

    def __init__(self, endpoint: Endpoint, **options: Unpack[ServerOptions]) -> None:
        """Use `stdio` or `http`; this is for an endpoint of your own."""
        self._endpoint = endpoint
        self._connect_timeout = options.get("connect_timeout", CONNECT_TIMEOUT)
        if not self._connect_timeout > 0:
            raise ConfigurationError("connect_timeout is in seconds, above 0")
        timeout = options.get("timeout", CALL_TIMEOUT)
        if timeout is not None and not timeout > 0:
            raise ConfigurationError("timeout is in seconds, above 0; None for no limit")
        self._options = Options(
            label=endpoint.label,
            hider=endpoint.hider,
            prefix=options.get("prefix", ""),
            selection=Selection(
                options.get("include"),
                options.get("exclude"),
                options.get("requires_approval", False),
            ),
            timeout=timeout,
            max_result_tokens=options.get("max_result_tokens"),
        )
        self._held: dict[object, _Held] = {}
        self._notes: tuple[str, ...] = ()

    @classmethod
    def stdio(
        cls,
        command: str,
        *args: str,
        env: Mapping[str, Given] | None = None,
        cwd: str | Path | None = None,
        **options: Unpack[ServerOptions],
    ) -> Self:
        """A server that is started as a child process.

        Args:
            command: The program, found on the ``PATH`` or by its path; no shell is involved.
            args: Its arguments. Other users of the machine can see them: secrets go into ``env``.
            env: Variables added to ``PATH``, ``HOME`` and the few others that a server inherits.
                A `SecretStr` is shown nowhere, nor is a value whose name says that it is a secret.
            cwd: Working directory.
            options: Those of the class.
        """
        from .stdio import StdioEndpoint, command_label

        given = dict(env or {})
        endpoint = StdioEndpoint(
            label=command_label(command, args),
            hider=Hider(confidential(given)),
            command=command,
            args=args,
            env=given,
            cwd=cwd,
        )
        return cls(endpoint, **options)

    @classmethod
    def http(
        cls,
        url: str,
        *,
        headers: Mapping[str, Given] | None = None,
        **options: Unpack[ServerOptions],
    ) -> Self:
        """A server that is reached over streamable HTTP.

        Args:
            url: Of its endpoint, which often ends in ``/mcp``.
            headers: Sent with each request, for example ``Authorization``; values may be
                `SecretStr`.
            options: Those of the class.

        Raises:
            ConfigurationError: The URL is not one of HTTP, or a header cannot be sent.
        """
        from .streamable import HttpEndpoint, check_headers, url_label

        given = dict(headers or {})
        check_headers(given)
        endpoint = HttpEndpoint(url_label(url), Hider(confidential(given)), url, given)
        return cls(endpoint, **options)

    def __repr__(self) -> str:
        return f"MCPServer({self._endpoint.label!r})"

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of the newest listing and why, one line each; also logged."""
        return self._notes

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Sequence[Tool[..., Any]], None]:
        """The tools of one run, over the connection that is open or over one of its own.

        Raises:
            ConfigurationError: The command or the URL cannot work, or the key is refused.
            BackendUnavailable: The server does not answer, or has ended.
        """
        held = self._held.get(_loop())
        if held is not None:
            yield await self._tools(held.connection)
            return
        async with self._connected() as connection:
            yield await self._tools(connection)

    async def __aenter__(self) -> Self:
        """Connect, and keep the connection; leave in the same task.

        Raises:
            ConfigurationError: It is open in this event loop already, or cannot work as described.
            BackendUnavailable: The server does not answer, or has ended.
        """
        if _loop() in self._held:
            raise ConfigurationError(
                f"{self!r} is open in this event loop already: share it, or make another"
            )
        context = self._connected()
        connection = await context.__aenter__()
        self._held[_loop()] = _Held(connection, context)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        held = self._held.pop(_loop())
        return await held.context.__aexit__(exc_type, exc, traceback)

    def _connected(self) -> AbstractAsyncContextManager[Connection]:
        require("mcp", extra="mcp", why="an MCP server")
        from .connection import Connection, connected

        return connected(Connection(self._endpoint, connect_timeout=self._connect_timeout))

    async def _tools(self, connection: Connection) -> Sequence[Tool[..., Any]]:
        tools, notes = make_tools(await connection.tools(), connection, self._options)
        self._note(notes)
        return tools

    def _note(self, notes: Sequence[str]) -> None:
        """Keep what was left out, and log it once."""
        for note in notes:
            if note not in self._notes:
                _log.warning("%s: %s", self._endpoint.label, note)
        self._notes = tuple(notes)


def _loop() -> object:
    """The event loop that runs here."""
    from anyio.lowlevel import current_token

    token: Any = current_token()
    return token.native_token
