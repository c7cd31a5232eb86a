"""An agent behind OpenAI's chat API: an ASGI app of its own, or a part of yours.

::

    request ─► gate (host, key) ─► ask (what is meant) ─► conversation (what the run goes on from)
                                                              │
    client ◄─ chunks (content, wire events) ◄─ answering ◄─ Agent.stream / run / resume

``ling-agent serve`` is this app on uvicorn (`hosting`). Starlette is imported when an app is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import extras
from ..agent import Agent
from ..api_keys import Key

if TYPE_CHECKING:
    from starlette.requests import Request

    from .app import Service

__all__ = ["asgi"]


def asgi(
    agents: Agent[Any] | Mapping[str, Agent[Any]] | Sequence[Agent[Any]],
    *,
    api_keys: Key | Iterable[Key] = (),
    deps: Callable[[Request], Any] | None = None,
    events: bool = True,
    answer_only: bool = False,
    max_runs: int = 64,
    max_body: int = 4 * 1024 * 1024,
    keepalive: float = 15.0,
    cors: Iterable[str] = (),
    allowed_hosts: Iterable[str] = (),
) -> Service:
    """An ASGI app with the paths ``/v1/chat/completions``, ``/v1/models`` and ``/health``.

    It needs no lifespan events and may be mounted under any prefix; it runs on asyncio and trio.

    Args:
        agents: One agent, several with different names, or agents by the names that they are
            served under: the ``model`` of a request.
        api_keys: Texts or pydantic ``SecretStr``; a request needs one of them. Without any, whoever
            reaches the app may use it.
        deps: Makes the ``deps`` of a run from its request; may be a coroutine function.
        events: Whether chunks carry the run's events (tool calls, their results, plans) under the
            key ``ling_agent``.
        answer_only: Hold back what the model says before it calls tools: the content is the
            answer alone, in one piece. Agents with an ``output_type`` always do so.
        max_runs: Runs at once; more are refused with 429.
        max_body: Largest request in bytes; more is refused with 413.
        keepalive: Seconds of silence after which a comment is sent.
        cors: Origins whose pages may use the app, or ``*``.
        allowed_hosts: Values of the ``Host`` header that are served, without a port; all when
            there are none.

    Raises:
        ConfigurationError: Names that are given twice or to nothing, a value that cannot be, or
            the extra ``serve`` is not installed.
    """
    extras.require("starlette", extra="serve", why="serving an agent")
    from .app import Service
    from .settings import Settings

    settings = Settings(
        api_keys=api_keys,
        events=events,
        answer_only=answer_only,
        max_runs=max_runs,
        max_body=max_body,
        keepalive=keepalive,
        cors=cors,
        allowed_hosts=allowed_hosts,
    )
    return Service(agents, settings, deps)
