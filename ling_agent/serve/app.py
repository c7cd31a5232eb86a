"""`Service`: the ASGI app, its paths and what they do."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ..agent import Agent
from ..errors import ConfigurationError
from ..version import __version__
from .chat import Chat
from .gate import AccessLog, Gate, respond
from .receiving import ClientGoneError
from .refusals import RefusedError
from .resume import Resume
from .runs import Runs
from .serving import Served
from .settings import Settings

Deps = Callable[[Request], Any]
_POOLS = ("AnyIO worker thread", "Trio thread", "asyncio_")
"""How threads are named that wait for further work: they belong to the event loop."""


class Service:
    """Agents as an ASGI app; made by `ling_agent.serve.asgi`.

    Attributes:
        settings: How they are served.
        runs: The runs that work now; `Runs.drain` ends them.
    """

    def __init__(
        self,
        agents: Agent[Any] | Mapping[str, Agent[Any]] | Sequence[Agent[Any]],
        settings: Settings,
        deps: Deps | None = None,
    ) -> None:
        self.settings = settings
        self.runs = Runs(settings.max_runs)
        self.agents = _by_name(agents)
        self._created = int(time.time())
        self._served = served = Served(self.agents, settings, self.runs, _deps_maker(deps))
        self._app = Starlette(
            routes=[
                Route("/v1/chat/completions", _Endpoint(Chat(served).answer), methods=["POST"]),
                Route(
                    "/v1/runs/{run_id}/resume", _Endpoint(Resume(served).answer), methods=["POST"]
                ),
                Route("/v1/models", self._models),
                Route("/v1/models/{name:path}", self._model),
                Route("/health", self._health),
            ],
            middleware=_middleware(settings),
            exception_handlers={HTTPException: _http_error},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    async def _models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [*map(self._card, self.agents)]})

    async def _model(self, request: Request) -> Response:
        name = request.path_params["name"]
        try:
            self._served.agent(name)
        except RefusedError as refused:
            return JSONResponse(refused.body(), refused.status)
        return JSONResponse(self._card(name))

    def _card(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": "ling_agent"}

    async def _health(self, request: Request) -> Response:
        told: dict[str, Any] = {"status": "draining" if self.runs.draining else "ok"}
        if "detail" in request.query_params:
            names = [thread.name for thread in threading.enumerate()]
            pooled = sum(name.startswith(_POOLS) for name in names)
            told |= {
                "version": __version__,
                "runs": len(self.runs),
                "tasks": len(anyio.get_running_tasks()),
                "threads": len(names) - pooled,
                "pooled_threads": pooled,
            }
        return JSONResponse(told, 503 if self.runs.draining else 200)


class _Endpoint:
    """A path whose answer is not one response object; Starlette calls it as an ASGI app."""

    def __init__(self, answer: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._answer(scope, receive, send)
        except RefusedError as refused:
            await respond(refused, scope, receive, send)
        except ClientGoneError:
            return  # nobody is there to be answered


def _middleware(settings: Settings) -> list[Middleware]:
    every = [Middleware(AccessLog)]
    if settings.cors:
        every.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],  # OpenAI's client in a page sends some of its own
                expose_headers=["X-Run-Id", "Retry-After"],
            )
        )
    return [*every, Middleware(Gate, settings=settings)]


async def _http_error(request: Request, error: Exception) -> Response:
    """What Starlette refuses itself: paths and methods that do not exist."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    what = {404: "there is nothing at this path", 405: "this path takes another method"}
    code = {404: "not_found", 405: "method_not_allowed"}.get(status, "invalid_request")
    refused = RefusedError(status, what.get(status, "the request was refused"), code=code)
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    return JSONResponse(refused.body(), status, headers)


def _by_name(
    agents: Agent[Any] | Mapping[str, Agent[Any]] | Sequence[Agent[Any]],
) -> dict[str, Agent[Any]]:
    if isinstance(agents, Agent):
        agents = [agents]
    if isinstance(agents, Mapping):
        pairs = list(agents.items())
    else:
        pairs = [(str(getattr(agent, "name", agent)), agent) for agent in agents]
    named: dict[str, Agent[Any]] = {}
    for name, agent in pairs:
        if not isinstance(agent, Agent):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"agents: {name!r} is no Agent")
        if name in named:
            raise ConfigurationError(
                f"two agents are called {name!r}: give them names, as in Agent(name=…), or a "
                "mapping from names to agents"
            )
        if not name.isprintable() or not name:
            raise ConfigurationError(f"an agent cannot be served under the name {name!r}")
        named[name] = agent
    if not named:
        raise ConfigurationError("agents: give at least one agent")
    return named


def _deps_maker(deps: Deps | None) -> Callable[[Request], Awaitable[Any]]:
    async def make(request: Request) -> Any:
        made = deps(request) if deps is not None else None
        return await made if inspect.isawaitable(made) else made

    return make
