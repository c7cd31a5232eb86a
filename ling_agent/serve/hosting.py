"""A `Service` on uvicorn: the socket, slow and stuck clients, and an orderly end.

::

    first SIGINT or SIGTERM   no further connection or run; running ones have ``grace`` seconds,
                              then they are cancelled and their results kept
    second                    the process ends at once
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..errors import ConfigurationError
from ..tools.source import held

if TYPE_CHECKING:
    from .app import Service

HEAD_SECONDS = 15.0
"""For the head of a request to arrive."""
IDLE_SECONDS = 20
"""That a connection is kept between two requests."""
STUCK_SECONDS = 60.0
"""For a client to take anything of what is written to it; after that it counts as gone."""
MAX_HEAD = 64 * 1024
"""Bytes."""
MAX_UNWANTED = 16 * 1024 * 1024
"""Bytes of a body that are read and dropped behind an answer to it."""

_CONNECTIONS_BESIDE_RUNS = 256
_BACKLOG = 2048
_LAST_SECONDS = 5  # for the last bytes of answers when all runs have ended
_log = logging.getLogger("ling_agent.serve")


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; port 0 takes a free one."""

    host: str
    port: int


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine can reach a host's addresses.

    Raises:
        ConfigurationError: The name is not known.
    """
    found = {entry[4][0] for entry in _look_up(Address(host, 0))}
    return all(ipaddress.ip_address(str(ip).partition("%")[0]).is_loopback for ip in found)


def bind(address: Address) -> socket.socket:
    """A listening socket.

    Raises:
        ConfigurationError: The port is taken or may not be used, or the name is not known.
    """
    family, kind, protocol, _, where = _look_up(address)[0]
    listening = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
    except OSError as error:
        listening.close()
        why = (error.strerror or str(error)).lower()
        raise ConfigurationError(
            f"cannot listen on {address.host}:{address.port}: {why}; take another --port "
            "(0 takes a free one)"
        ) from None
    return listening


def _look_up(address: Address) -> list[Any]:
    if not 0 <= address.port <= 65535:  # which the system would take for another one
        raise ConfigurationError(f"--port {address.port}: give one from 0 to 65535")
    try:
        return list(
            socket.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        )
    except (OSError, UnicodeError, OverflowError):
        raise ConfigurationError(
            f"there is no address {address.host!r} with port {address.port}: look at --host and "
            "--port"
        ) from None


def url_of(listening: socket.socket) -> str:
    """Where a socket can be reached, for people."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def host(
    service: Service, listening: socket.socket, *, grace: float, ready: Callable[[], None]
) -> None:
    """Serve until a signal comes.

    Args:
        service: What to serve.
        listening: Bound socket; closed afterwards.
        grace: Seconds for running answers when the first signal comes.
        ready: Called when connections are accepted.
    """
    config = uvicorn.Config(
        service,
        http=Protocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=service.settings.max_runs + _CONNECTIONS_BESIDE_RUNS,
        backlog=_BACKLOG,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=_LAST_SECONDS,
    )
    with contextlib.closing(listening):
        asyncio.run(_host(service, _Server(config), listening, grace, ready))


async def _host(
    service: Service,
    server: _Server,
    listening: socket.socket,
    grace: float,
    ready: Callable[[], None],
) -> None:
    sources = [source for agent in service.agents.values() for source in agent.sources]
    async with held(sources), anyio.create_task_group() as group:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:

            async def listen() -> None:
                count = 0
                async for number in signals:
                    count += 1
                    if count > 1:
                        _end_at_once(number)
                    _log.info("ending: %d runs have up to %g s", len(service.runs), grace)
                    group.start_soon(end)

            async def end() -> None:
                server.stop_listening()
                await service.runs.drain(grace)
                server.should_exit = True

            group.start_soon(listen)
            group.start_soon(server.tell_when_ready, ready)
            await server.serve(sockets=[listening])
            group.cancel_scope.cancel()


def _end_at_once(number: int) -> None:
    _log.warning("ended at once")
    logging.shutdown()
    os._exit(128 + number)


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers: what a signal does is decided here."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    def stop_listening(self) -> None:
        """Take no further connections, and have those there are end with their request."""
        for server in self.servers if self.started else ():
            server.close()

    async def tell_when_ready(self, ready: Callable[[], None]) -> None:
        while not self.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await anyio.sleep(0.01)
        ready()


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP with bounds for clients that send or take nothing, or too much of a head."""

    _timer: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None
    _in_head = True
    _head_bytes = 0
    _unwanted = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop(self._timer)
        self._stop(self._stuck)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD:
                self.transport.abort()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes, self._unwanted = True, 0, 0
        self._wait_for_head()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop(self._timer)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self.cycle.response_complete:
            self._unwanted += len(body)
            if self._unwanted > MAX_UNWANTED:
                self.transport.abort()
                return
        super().on_body(body)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck = self.loop.call_later(STUCK_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop(self._stuck)
        super().resume_writing()

    def _wait_for_head(self) -> None:
        self._stop(self._timer)
        self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()
