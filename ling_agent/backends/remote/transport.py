"""`HttpTransport`: the HTTP of one server: JSON in; JSON, or a stream of JSON events, out.

Leaving a stream closes its connection, which is how vLLM and SGLang learn that the request is to be
aborted.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any, Protocol

import anyio
import anyio.lowlevel
import httpx2

from ...errors import BackendUnavailable
from .asyncio_http import Connection
from .event_body import EventBody
from .failures import Wording
from .jsons import read_json
from .pool import Pool
from .progress import is_progress
from .timeouts import Timeouts
from .written import write_body

_PROBE_SECONDS = 10.0
_LONGEST_ERROR_BODY = 64 * 1024


class Transport(Protocol):
    """How a server is asked; `HttpTransport`, or a client of the caller's.

    Bodies are JSON; a `WrittenList` may stand for a list in it.
    """

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
        self._pools: anyio.lowlevel.RunVar[Pool | None] = anyio.lowlevel.RunVar(url, None)

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
        body = EventBody(response, deadline)
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

    async def _decoded(self, body: EventBody) -> AsyncGenerator[list[Any], None]:
        """The JSON of the events, as many at a time as have arrived."""
        first = True
        try:
            while (events := await body.events()) is not None:
                done = events.index("[DONE]") if "[DONE]" in events else None
                if ready := [self._json(event) for event in events[:done]]:
                    yield ready
                if done is not None:
                    await body.read_to_the_end()
                    return
                first = first and is_progress(ready)
                timeouts = self.timeouts
                limit = timeouts.first_token if first else timeouts.between_tokens
                body.deadline = anyio.current_time() + limit
        except TimeoutError:
            raise self._late(first) from None
        except UnicodeDecodeError as error:
            raise self.words.bad_event(ValueError(f"invalid unicode: {error}")) from None
        except httpx2.TransportError as error:
            raise self.words.transport(error, during="answer") from error

    def _json(self, event: str) -> Any:
        try:
            return read_json(event)
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
            content=None if body is None else write_body(body),
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
        body = EventBody(response, anyio.current_time() + _PROBE_SECONDS)
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
            pool = Pool(self.url, self.timeouts.connect)
            self._pools.set(pool)
            await pool.open()
        return pool.client
