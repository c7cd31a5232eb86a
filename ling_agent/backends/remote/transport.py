"""`HttpTransport`: the HTTP of one server: JSON in; JSON, or a stream of JSON events, out.

One connection pool an event loop, with keep-alive. A pool closes itself when its loop ends: it is
held by an asynchronous generator, and both asyncio and trio close those that are left at the end of
a run. Leaving a stream closes its connection, which is how vLLM and SGLang learn that the request
is to be aborted.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import math
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
import httpx2

from ...errors import BackendUnavailable, ConfigurationError
from .asyncio_http import Connection
from .connections import Connections
from .failures import Wording
from .jsons import read_json, write_json

MAX_EVENT_BYTES = 8 * 1024 * 1024
"""Longest streamed event; an argument that a server sends whole may be long."""

_EVENT_ENDS = ("\n\n", "\r\n\r\n", "\r\r")
_LONGEST_EVENT_END = 4

_PROBE_SECONDS = 10.0
_LAST_SECONDS = 1.0
_LONGEST_ERROR_BODY = 64 * 1024
# Below the 5 seconds after which uvicorn (vLLM, SGLang) closes idle connections: a request on a
# connection that is just being closed would be lost.
_KEEP_ALIVE_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a server may take, in seconds; `math.inf` waits for ever.

    Attributes:
        connect: Until a connection is there.
        first_token: Until the first token, with the wait in the server's queue and the prefill of
            the prompt: minutes for 256K tokens.
        between_tokens: From one token to the next.
    """

    connect: float = 10.0
    first_token: float = 600.0
    between_tokens: float = 60.0

    def __post_init__(self) -> None:
        for name in ("connect", "first_token", "between_tokens"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ConfigurationError(f"Timeouts.{name} must be seconds above 0, not {value!r}")


class Transport(Protocol):
    """How a server is asked; `HttpTransport`, or a client of the caller's."""

    url: str
    words: Wording
    timeouts: Timeouts

    async def get(self, path: str) -> Any: ...

    async def post(self, path: str, body: Any, *, limit: float | None = None) -> Any: ...

    def events(
        self, path: str, body: Any, *, pace: float = 0.0
    ) -> AbstractAsyncContextManager[AsyncIterator[list[Any]]]: ...

    async def healthy(self, path: str = "/health") -> bool: ...

    async def aclose(self) -> None: ...


class HttpTransport:
    """Speaks with one server.

    Args:
        url: Base URL without ``/v1``.
        api_key: Sent as a bearer token; None sends none.
        timeouts: See `Timeouts`.
    """

    def __init__(self, url: str, *, api_key: str | None, timeouts: Timeouts) -> None:
        self.url = url
        self.words = Wording(url, (api_key,) if api_key else ())
        self.timeouts = timeouts
        self._headers = {"content-type": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._pools: anyio.lowlevel.RunVar[_Pool | None] = anyio.lowlevel.RunVar(url, None)

    async def get(self, path: str) -> Any:
        """What ``GET path`` answers; one probe, with a short time limit.

        Raises:
            BackendError: Not reachable, an error status, or no JSON.
        """
        return await self._whole("GET", path, None, _PROBE_SECONDS, "answer", "connect")

    async def healthy(self, path: str = "/health") -> bool:
        """Whether ``GET path`` answers with success."""
        try:
            client = await self._client()
            with anyio.fail_after(2.0):
                return (await client.get(self.url + path, headers=self._headers)).is_success
        except (httpx2.HTTPError, TimeoutError):
            return False

    async def post(self, path: str, body: Any, *, limit: float | None = None) -> Any:
        """What ``POST path`` answers, in one piece.

        Args:
            path: Begins with a slash.
            body: JSON.
            limit: Seconds for the whole answer; the default is that of a probe.

        Raises:
            BackendError: Not reachable, an error status, or no JSON.
        """
        seconds = _PROBE_SECONDS if limit is None else limit
        return await self._whole("POST", path, body, seconds, "answer", "first_token")

    @asynccontextmanager
    async def events(
        self, path: str, body: Any, *, pace: float = 0.0
    ) -> AsyncGenerator[AsyncIterator[list[Any]], None]:
        """``POST path``, answered by server-sent events: the JSON of those that have arrived.

        They end at ``[DONE]``. A stream that ends without it just ends: the caller knows what it
        still waits for.

        Args:
            path: Begins with a slash.
            body: JSON.
            pace: Seconds for which events may be held back, to be read several at a time.

        Raises:
            BackendError: Not reachable, an error status, no stream, or one that breaks off.
        """
        limit = self.timeouts.first_token
        deadline = anyio.current_time() + limit
        response = await self._send("POST", path, body, limit, "first token", "first_token")
        body = _Body(response, deadline)
        try:
            if response.status_code != 200:
                raise await self._status(response)
            content_type = response.headers.get("content-type", "")
            if not content_type.startswith("text/event-stream"):
                raise self.words.not_json(await self._beginning(response), content_type)
            connection = response.extensions.get("connection")
            if isinstance(connection, Connection):
                connection.pace = pace
            async with aclosing(self._decoded(body)) as events:
                yield events
        finally:
            await body.aclose()

    async def aclose(self) -> None:
        """Close the connections of this event loop; the next request opens new ones."""
        pool = self._pools.get()
        self._pools.set(None)
        if pool is not None:
            await pool.aclose()

    async def _decoded(self, body: _Body) -> AsyncGenerator[list[Any], None]:
        """The JSON of the events, as many at a time as have arrived."""
        between, first = self.timeouts.between_tokens, True
        try:
            while (events := await body.events()) is not None:
                done = next((at for at, event in enumerate(events) if event.data == "[DONE]"), None)
                if ready := [self._json(event) for event in events[:done]]:
                    yield ready
                if done is not None:
                    await body.read_to_the_end()
                    return
                first = False
                body.deadline = anyio.current_time() + between
        except TimeoutError:
            raise self._late(first) from None
        except UnicodeDecodeError as error:
            raise self.words.bad_event(ValueError(f"invalid unicode: {error}")) from None
        except httpx2.TransportError as error:
            raise self.words.transport(error, during="answer") from error

    def _json(self, event: httpx2.ServerSentEvent) -> Any:
        try:
            return read_json(event.data)
        except ValueError as error:
            raise self.words.bad_event(error) from None

    def _late(self, first: bool) -> BackendUnavailable:
        if first:
            return self.words.no_answer(
                self.timeouts.first_token, waiting_for="first token", option="first_token"
            )
        return self.words.no_answer(
            self.timeouts.between_tokens, waiting_for="next token", option="between_tokens"
        )

    async def _whole(
        self, method: str, path: str, body: Any, limit: float, waiting_for: str, option: str
    ) -> Any:
        """A request whose answer is one JSON value."""
        with anyio.move_on_after(limit):
            response = await self._send(method, path, body, math.inf, waiting_for, option)
            try:
                if response.status_code != 200:
                    raise await self._status(response)
                data = await response.aread()
            except httpx2.TransportError as error:
                raise self.words.transport(error, during="answer") from error
            finally:
                with anyio.CancelScope(shield=True):
                    await response.aclose()
            try:
                return read_json(data)
            except ValueError:
                content_type = response.headers.get("content-type", "")
                raise self.words.not_json(data, content_type) from None
        raise self.words.no_answer(limit, waiting_for=waiting_for, option=option)

    async def _send(
        self, method: str, path: str, body: Any, limit: float, waiting_for: str, option: str
    ) -> httpx2.Response:
        """Send a request and wait for the head of the answer."""
        client = await self._client()
        request = client.build_request(
            method,
            self.url + path,
            content=None if body is None else write_json(body),
            headers=self._headers,
        )
        with anyio.move_on_after(limit):
            try:
                return await client.send(request, stream=True)
            except httpx2.TransportError as error:
                raise self.words.transport(error, during="connect") from error
        raise self.words.no_answer(limit, waiting_for=waiting_for, option=option)

    async def _status(self, response: httpx2.Response) -> Exception:
        body = await self._beginning(response)
        return self.words.status(response.status_code, body, response.headers)

    async def _beginning(self, response: httpx2.Response) -> bytes:
        """As much of a body as an error can tell about; a slow one is given up."""
        beginning = bytearray()
        body = _Body(response, anyio.current_time() + _PROBE_SECONDS)
        # What cannot be read does not matter: the status says enough.
        with contextlib.suppress(httpx2.HTTPError, TimeoutError):
            while (piece := await body.read()) is not None:
                beginning += piece
                if len(beginning) >= _LONGEST_ERROR_BODY:
                    break
        await body.aclose()
        return bytes(beginning)

    async def _client(self) -> httpx2.AsyncClient:
        pool = self._pools.get()
        if pool is None:
            pool = _Pool(self.url, self.timeouts.connect)
            self._pools.set(pool)
            await pool.open()
        return pool.client


class _Pool:
    """The connections of one event loop, closed with it."""

    def __init__(self, url: str, connect: float) -> None:
        limits = httpx2.Limits(
            max_connections=None,
            max_keepalive_connections=None,
            keepalive_expiry=_KEEP_ALIVE_SECONDS,
        )
        self.client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(None, connect=connect if connect != math.inf else None),
            limits=limits,
            # httpx2's own one knows trio and proxies.
            transport=Connections(keep_alive=_KEEP_ALIVE_SECONDS)
            if _on_asyncio() and not _has_proxy(url)
            else None,
        )
        self._guard = self._hold()

    async def open(self) -> None:
        await anext(self._guard)

    async def aclose(self) -> None:
        await self._guard.aclose()

    async def _hold(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.client.aclose()


def _on_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _has_proxy(url: str) -> bool:
    """Whether the environment names a proxy for this URL."""
    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    named = parts.scheme in proxies or "all" in proxies
    return named and not urllib.request.proxy_bypass(parts.hostname or "")


class _Body:
    """The body of a response, which may be left in the middle.

    Attributes:
        deadline: When reading raises `TimeoutError`. It counts for whole events: a server that
            sends a byte a second is stuck, too.
    """

    def __init__(self, response: httpx2.Response, deadline: float) -> None:
        self.deadline = deadline
        self._response = response
        self._bytes = response.aiter_bytes()
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._blocks = _Blocks(response)

    async def read(self) -> bytes | None:
        """What has arrived; None at the end."""
        with anyio.CancelScope(deadline=self.deadline) as scope:
            return await anext(self._bytes, None)
        assert scope.cancelled_caught
        raise TimeoutError

    async def events(self) -> list[httpx2.ServerSentEvent] | None:
        """The events that have arrived, at least one; None at the end.

        Bytes that are not UTF-8 are an error: httpx2 would replace them, and a damaged answer would
        be taken for a whole one.
        """
        while (data := await self.read()) is not None:
            if events := self._blocks.take(self._decoder.decode(data)):
                return events
        self._decoder.decode(b"", final=True)
        return None

    async def read_to_the_end(self) -> None:
        """Read what is left, briefly, so that the connection can be used again."""
        self.deadline = anyio.current_time() + _LAST_SECONDS
        with contextlib.suppress(TimeoutError, httpx2.TransportError):
            while await self.read() is not None:
                pass

    async def aclose(self) -> None:
        """Close the response and what reads it.

        httpx2 leaves generators to the garbage collector, of which trio warns. Reading on when the
        connection is closed ends them.
        """
        with anyio.CancelScope(shield=True):
            await self._response.aclose()
            with contextlib.suppress(Exception):
                await self.read_to_the_end()


class _Blocks:
    """Cuts text into blocks of whole events, for `httpx2.EventSource`, which reads a whole body."""

    def __init__(self, response: httpx2.Response) -> None:
        # What EventSource looks at.
        self.request = response.request
        self.headers = response.headers
        self._pending: list[str] = []
        self._size = 0
        self._tail = ""  # of what is pending: the end of an event may be cut in two
        self._block = ""

    def take(self, text: str) -> list[httpx2.ServerSentEvent]:
        """Take text; the events that are complete with it."""
        joined = self._tail + text
        end = max((joined.rfind(m) + len(m) for m in _EVENT_ENDS if m in joined), default=0)
        end -= len(self._tail)
        if end <= 0:
            self._keep(text)
            return []
        self._block = "".join((*self._pending, text[:end]))
        self._pending, self._size, self._tail = [], 0, ""
        self._keep(text[end:])
        return list(httpx2.EventSource(cast("httpx2.Response", self), MAX_EVENT_BYTES))

    def iter_text(self) -> Iterator[str]:
        yield self._block

    def _keep(self, text: str) -> None:
        self._pending.append(text)
        self._size += len(text)
        self._tail = (self._tail + text)[-_LONGEST_EVENT_END + 1 :]
        if self._size > MAX_EVENT_BYTES:
            raise httpx2.SSEError(f"event exceeded the {MAX_EVENT_BYTES} byte limit")
