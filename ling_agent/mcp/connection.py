"""`Connection`: one server, one owner task that opens, keeps and reopens the way to it."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import mcp_types
from anyio.abc import TaskStatus
from mcp import Client, MCPError
from mcp.client.session import IncomingMessage
from mcp.shared.dispatcher import ProgressFnT

from ..errors import BackendUnavailable, LingAgentError
from .endpoint import Endpoint, Link
from .sdk_log import hidden_in_logs
from .watched import watched

_log = logging.getLogger("ling_agent.mcp")

PAUSES = (0.1, 0.5, 2.0)
"""Seconds before each further attempt to reach a server that was lost."""
_DRAIN_SECONDS = 2.0
_FAREWELL_SECONDS = 3.0
_MOST_PAGES = 100
_MOST_RENEWALS = 3


class CallLostError(Exception):
    """The server went away during a call; nobody knows whether the call took effect."""


@dataclass
class _Attempt:
    """What everybody who wants a client waits for."""

    wanted: anyio.Event = field(default_factory=anyio.Event)
    done: anyio.Event = field(default_factory=anyio.Event)
    error: LingAgentError | None = None


@dataclass
class _Session:
    """A client that is connected, until `lost` is set; and the calls that it has under way."""

    client: Client
    link: Link
    lost: anyio.Event
    calls: int = 0
    idle: anyio.Event = field(default_factory=anyio.Event)

    async def call(
        self, name: str, arguments: dict[str, Any], progress: ProgressFnT
    ) -> mcp_types.CallToolResult:
        self.calls += 1
        try:
            return await self.client.call_tool(name, arguments, progress_callback=progress)
        finally:
            self.calls -= 1
            if not self.calls:
                self.idle.set()

    async def end(self) -> None:
        """Wait until it is lost, and then until each call has heard its own fate, if that is soon.

        Over HTTP the first of several calls that find the session forgotten would otherwise end the
        others, which then could not tell whether they took effect.
        """
        await self.lost.wait()
        with anyio.move_on_after(_DRAIN_SECONDS):
            while self.calls:
                self.idle = anyio.Event()
                await self.idle.wait()


class Connection:
    """The way to a server, in one event loop, shared by all its tasks.

    The SDK's contexts are entered and left in one task, which `run` is; calls are made in the tasks
    of their runs, so that cancelling a run cancels its calls and nothing else. A server that was
    lost is looked for again when somebody wants it, and not before.

    Attributes:
        left_out: Notes about tools whose descriptions cannot be read.
    """

    def __init__(self, endpoint: Endpoint, *, connect_timeout: float) -> None:
        self._endpoint = endpoint
        self._timeout = connect_timeout
        self.left_out: list[str] = []
        self._attempt = _Attempt()
        self._session: _Session | None = None
        self._closing = anyio.Event()
        self._connecting: anyio.CancelScope | None = None

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """The owner task: hold a session whenever one is wanted, until `close`."""
        with hidden_in_logs(self._endpoint.hider), anyio.CancelScope(shield=True) as scope:
            task_status.started()
            async with anyio.create_task_group() as group:
                group.start_soon(self._say_farewell, scope)
                while await self._is_wanted():
                    await self._reach()
                group.cancel_scope.cancel()
        self._settle(self._closed())

    def close(self) -> None:
        """End the session and the owner task."""
        self._closing.set()
        self._attempt.wanted.set()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._session is not None:
            self._session.lost.set()

    async def tools(self) -> tuple[mcp_types.Tool, ...]:
        """What the server offers now.

        It is asked each time: its notices of changes come on another way than the results of calls,
        over HTTP, so that they may come late, and some servers send none.

        Raises:
            LingAgentError: The server cannot be reached, or gives no listing.
        """
        for pause in (*PAUSES, None):
            session = await self._connected()
            try:
                with anyio.fail_after(self._timeout):
                    return await _all_pages(session.client)
            except TimeoutError as error:
                raise self._unlisted(error) from None
            except MCPError as error:
                if pause is None or session.link.fate(error) == "answered":
                    raise self._unlisted(error) from error
            except ValueError as error:  # pydantic's: not what the protocol says
                raise self._unlisted(error) from error
            await anyio.sleep(pause)
        raise AssertionError("the last attempt has returned or raised")

    async def call(
        self, name: str, arguments: dict[str, Any], *, again: bool, progress: ProgressFnT
    ) -> mcp_types.CallToolResult:
        """Call a tool; cancelling the caller cancels the call on the server.

        Args:
            name: The server's own name of the tool.
            arguments: As the model gave them, checked.
            again: Whether a call that was interrupted may be made a second time.
            progress: Told what the server reports meanwhile.

        Raises:
            CallLostError: The server was lost during the call.
            MCPError: The server refused the call.
            LingAgentError: The server cannot be reached.
        """
        pauses = iter(PAUSES)
        renewals = _MOST_RENEWALS
        while True:
            session = await self._connected()
            try:
                return await session.call(name, arguments, progress)
            except MCPError as error:
                fate = session.link.fate(error)
                if fate == "answered":
                    raise
                if fate == "interrupted":
                    if not again:
                        raise CallLostError from error
                    again = False
                renewals -= session.lost.is_set()
                # A new session has its own pauses before it.
                pause = 0.0 if session.lost.is_set() and renewals else next(pauses, None)
                if pause is None:
                    raise session.link.reason(error) from error
                _log.info("%s: %s; trying again", self._endpoint.label, error.message)
            await anyio.sleep(pause)

    async def _connected(self) -> _Session:
        """The session; a new one when the last was lost."""
        while True:
            session = self._session
            if session is not None and not session.lost.is_set():
                return session
            if self._closing.is_set():
                raise self._closed()
            attempt = self._attempt
            attempt.wanted.set()
            await attempt.done.wait()
            if attempt.error is not None:
                raise attempt.error

    async def _is_wanted(self) -> bool:
        await self._attempt.wanted.wait()
        return not self._closing.is_set()

    async def _reach(self) -> None:
        """Hold one session, after a few attempts if need be; tell who waits when there is none."""
        again = self._session is not None
        for pause in (*PAUSES, None):
            error = await self._hold()
            if error is None or self._closing.is_set():
                return
            # At the very first, waiting helps nobody: the command or the address is wrong.
            if pause is None or not again or not isinstance(error, BackendUnavailable):
                self._settle(error)
                return
            _log.info("%s; trying again in %g s", error, pause)
            with anyio.move_on_after(pause):
                await self._closing.wait()

    async def _hold(self) -> LingAgentError | None:
        """Connect, and stay until the session is lost; None when there was one."""
        lost = anyio.Event()
        link = self._endpoint.link(lost.set, self._timeout)
        failure: BaseException | None = None
        connected = False
        scope = anyio.CancelScope(deadline=anyio.current_time() + self._timeout)
        self._connecting = scope
        try:
            with scope:
                async with self._client(link, lost.set) as client:
                    connected = True
                    scope.deadline = math.inf
                    self._connecting = None
                    self._session = session = _Session(client, link, lost)
                    self._settle(None)
                    await session.end()
        except Exception as error:
            failure = _first(error)
        finally:
            lost.set()
            self._connecting = None
        if connected:
            if not self._closing.is_set():
                _log.info("%s was lost; it is looked for when it is needed", self._endpoint.label)
            return None
        return link.reason(failure)

    def _client(self, link: Link, lost: Callable[[], None]) -> Client:
        async def received(message: IncomingMessage) -> None:
            if isinstance(message, Exception):
                link.heard(message)

        def left_out(note: str) -> None:
            if note not in self.left_out:
                self.left_out.append(note)

        return Client(
            watched(link.streams(), lost, left_out),
            message_handler=received,
            client_info=_client_info(),
            cache=None,
        )

    def _settle(self, error: LingAgentError | None) -> None:
        """Answer everybody who waits; the next one who asks starts another attempt."""
        attempt, self._attempt = self._attempt, _Attempt()
        attempt.error = error
        attempt.done.set()

    async def _say_farewell(self, scope: anyio.CancelScope) -> None:
        """A server gets a moment to take leave, and no more."""
        await self._closing.wait()
        await anyio.sleep(_FAREWELL_SECONDS)
        scope.cancel()

    def _unlisted(self, error: Exception) -> LingAgentError:
        why = self._endpoint.hider.line(str(error)) or "it took too long"
        return BackendUnavailable(
            f"MCP server '{self._endpoint.label}' does not tell its tools: {why}"
        )

    def _closed(self) -> LingAgentError:
        return BackendUnavailable(
            f"MCP server '{self._endpoint.label}': the connection is closed; use it inside its "
            "'async with'"
        )


@asynccontextmanager
async def connected(connection: Connection) -> AsyncGenerator[Connection, None]:
    """Run the connection's owner task while the body works; errors of the body are raised as such.

    Raises:
        LingAgentError: The server cannot be reached.
    """
    failure: BaseException | None = None
    try:
        async with anyio.create_task_group() as group:
            try:
                await group.start(connection.run)
                await connection.tools()
                yield connection
            except BaseException as error:
                failure = error
                raise
            finally:
                connection.close()
    except BaseExceptionGroup:
        # A cancelled body with a group is one that the owner task's failure has cancelled.
        if failure is None or isinstance(failure, anyio.get_cancelled_exc_class()):
            raise
    if failure is not None:
        raise failure  # not the task group's wrapping of it


async def _all_pages(client: Client) -> tuple[mcp_types.Tool, ...]:
    if client.server_capabilities.tools is None:
        return ()
    tools: list[mcp_types.Tool] = []
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools.extend(page.tools)
        cursor = page.next_cursor
        if cursor is None:
            break
    return tuple(tools)


def _first(error: BaseException) -> BaseException:
    """The first error of nested groups: what the SDK's task groups make of a single one."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return error  # pyright: ignore[reportUnknownVariableType]


def _client_info() -> mcp_types.Implementation:
    from ..version import __version__

    return mcp_types.Implementation(name="ling-agent", version=__version__)
