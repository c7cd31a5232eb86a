"""`ClientTransport`: an ``openai.AsyncOpenAI`` client of the caller's, used as given.

Its base URL, headers, proxies, authentication, timeouts and retries are its own; nothing of it is
changed or closed. The package ``openai`` is not imported here: the client brings it.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import anyio

from ...errors import BackendError, BackendRefused, BackendUnavailable
from .failures import Wording
from .jsons import write_json
from .progress import is_progress
from .timeouts import Timeouts
from .written import read_body

_OWN_FIELDS = frozenset(
    (
        *("model", "messages", "temperature", "top_p", "max_tokens", "max_completion_tokens"),
        *("seed", "stream", "stream_options", "tools", "tool_choice", "stop"),
    )
)


class ClientTransport:
    """Speaks with one server through a client of the caller's.

    Args:
        client: An ``AsyncOpenAI``, an ``AsyncAzureOpenAI``, or what behaves like one.
        timeouts: Until the first and the next token; the connection is the client's own business.
    """

    def __init__(self, client: Any, *, timeouts: Timeouts) -> None:
        self._client = client
        self.timeouts = timeouts
        self.url, password = _address(str(getattr(client, "base_url", "the client")))
        key = getattr(client, "api_key", None)
        secrets = (key, password, unquote(password))
        self.words = Wording(self.url, tuple(s for s in secrets if isinstance(s, str) and s))

    async def get(self, path: str) -> Any:
        """The list of models; clients know no other path.

        Raises:
            BackendError: It cannot be had.
        """
        if path != "/v1/models":
            raise BackendRefused(f"{path} is no path of the client", status=404)
        try:
            listed = await self._client.models.list()
        except Exception as error:
            raise self._error(error) from self.words.cause(error)
        return {"data": [{"id": model.id, "owned_by": model.owned_by} for model in listed.data]}

    async def post(self, path: str, body: Any, *, limit: float | None = None) -> Any:
        """A completion in one piece.

        Raises:
            BackendError: It cannot be had.
        """
        with anyio.move_on_after(math.inf if limit is None else limit):
            try:
                answer = await self._create(path, body)
            except BackendError:
                raise
            except Exception as error:
                raise self._error(error) from self.words.cause(error)
            return answer.model_dump()
        raise self.words.no_answer(limit or 0.0, waiting_for="answer", option="first_token")

    @asynccontextmanager
    async def events(
        self, path: str, body: Any, *, pace: float = 0.0
    ) -> AsyncGenerator[AsyncIterator[list[Any]], None]:
        """A completion in pieces; the client has its own pace.

        Raises:
            BackendError: It cannot be had, or breaks off.
        """
        limit = self.timeouts.first_token
        stream: Any = None
        with anyio.move_on_after(limit):
            try:
                stream = await self._create(path, body)
            except BackendError:
                raise
            except Exception as error:
                raise self._error(error) from self.words.cause(error)
        if stream is None:
            raise self.words.no_answer(limit, waiting_for="first token", option="first_token")
        try:
            async with aclosing(self._events(stream)) as events:
                yield events
        finally:
            with anyio.CancelScope(shield=True):
                await stream.close()

    async def healthy(self, path: str = "/health") -> bool:
        """There is one server only: it is simply asked."""
        return True

    async def aclose(self) -> None:
        """The client is the caller's to close."""

    async def _create(self, path: str, body: dict[str, Any]) -> Any:
        if path != "/v1/chat/completions":
            raise BackendRefused(f"{path} is no path of the client", status=404)
        plain = read_body(body)  # the client writes it
        own = {name: value for name, value in plain.items() if name in _OWN_FIELDS}
        extra = {name: value for name, value in plain.items() if name not in _OWN_FIELDS}
        return await self._client.chat.completions.create(**own, extra_body=extra or None)

    async def _events(self, stream: Any) -> AsyncGenerator[list[Any], None]:
        limit, first = self.timeouts.first_token, True
        async with _closing(aiter(stream)) as events:
            while True:
                event: Any = None
                with anyio.move_on_after(limit) as scope:
                    try:
                        event = await anext(events, None)
                    except Exception as error:
                        raise self._error(error) from self.words.cause(error)
                if scope.cancelled_caught:
                    what = "first" if first else "next"
                    option = "first_token" if first else "between_tokens"
                    raise self.words.no_answer(limit, waiting_for=f"{what} token", option=option)
                if event is None:
                    return
                told = [event.model_dump(exclude_unset=True)]
                yield told
                first = first and is_progress(told)
                limit = self.timeouts.first_token if first else self.timeouts.between_tokens

    def _error(self, error: Exception) -> BackendError:
        """The client's exceptions, by what they carry."""
        status = getattr(error, "status_code", None)
        if isinstance(status, int):
            body = getattr(error, "body", None)
            data = write_json(body) if body is not None else str(error).encode()
            headers = getattr(getattr(error, "response", None), "headers", {})
            return self.words.status(status, data, headers)
        reason = self.words.one_line(str(error.__cause__ or error))
        return BackendUnavailable(
            f"cannot reach {self.url}: {type(error).__name__}: {reason}: is the server running, "
            "and is the client set up for it?"
        )


def _address(base_url: str) -> tuple[str, str]:
    """A client's base URL without ``/v1`` and without who asks, and the password that was in it."""
    url = base_url.rstrip("/").removesuffix("/v1")
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host).geturl(), parts.password or ""


@asynccontextmanager
async def _closing(events: AsyncIterator[Any]) -> AsyncGenerator[AsyncIterator[Any], None]:
    """Close them at the end where they are a generator."""
    try:
        yield events
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()
