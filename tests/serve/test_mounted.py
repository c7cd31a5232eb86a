"""As a part of FastAPI and Starlette applications, with and without lifespan events."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import fastapi
import pytest
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import Mount

from ling_agent import Agent, tool
from ling_agent.serve import asgi
from ling_agent.testing import ScriptedBackend

from ..helpers import StallingBackend, call
from .asgi import Call, content, get, post, request

pytestmark = pytest.mark.anyio


@tool(requires_approval=True)
def buy() -> str:
    """Buy."""
    return "bought"


def agent_of(*script: Any) -> Agent[Any]:
    return Agent(ScriptedBackend(script), tools=[buy], planning="off")


def in_fastapi(service: Any) -> Any:
    app = fastapi.FastAPI()
    app.mount("/ai", service)
    return app


def in_starlette(service: Any) -> Any:
    return Starlette(routes=[Mount("/ai", app=service)])


def in_two_levels(service: Any) -> Any:
    return Starlette(routes=[Mount("/", app=in_fastapi(service))])


def behind_middleware(service: Any) -> Any:
    app = in_fastapi(service)

    async def through(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=through)
    return app


def with_a_lifespan(service: Any) -> Any:
    @asynccontextmanager
    async def lifespan(app: object) -> AsyncGenerator[None, None]:
        yield

    app = fastapi.FastAPI(lifespan=lifespan)
    app.mount("/ai", service)
    return app


@pytest.mark.parametrize(
    "mount", [in_fastapi, in_starlette, in_two_levels, behind_middleware, with_a_lifespan]
)
async def test_everything_works_under_a_prefix(mount: Any) -> None:
    app = mount(asgi(agent_of("whole", "streamed", call("buy"), "done")))
    assert (await get(app, "/ai/health")).json() == {"status": "ok"}
    assert (await get(app, "/ai/v1/models")).json()["data"][0]["id"] == "agent"
    path = "/ai/v1/chat/completions"
    answer = await post(app, path, request("x"))
    assert answer.json()["choices"][0]["message"]["content"] == "whole"
    assert content((await post(app, path, request("x", stream=True))).data()) == "streamed"
    waiting = (await post(app, path, request("x"))).json()["ling_agent"]["resume"]
    assert waiting.startswith("/ai/v1/runs/http-")
    done = await post(app, waiting, {"approvals": {"call_1_0": True}})
    assert done.json()["choices"][0]["message"]["content"] == "done"
    assert (await get(app, "/ai/other")).status == 404


async def test_a_key_keeps_only_the_mounted_part() -> None:
    app = fastapi.FastAPI()

    async def own() -> str:
        return "own"

    app.add_api_route("/own", own)
    app.mount("/ai", asgi(agent_of(), api_keys="k"))
    assert (await get(app, "/own")).json() == "own"
    assert (await get(app, "/ai/v1/models")).status == 401
    assert (await get(app, "/ai/health")).status == 200


async def test_lifespan_events_are_answered_where_it_is_the_whole_app() -> None:
    sent: list[str] = []
    waiting = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Any:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await asgi(agent_of())({"type": "lifespan", "asgi": {}, "state": {}}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_client_that_goes_is_seen_through_middleware() -> None:

    backend, running = StallingBackend("a"), Call()
    service = asgi(Agent(backend, planning="off"))
    app = behind_middleware(service)
    body = json.dumps(request("x", stream=True)).encode()
    async with anyio.create_task_group() as group:
        group.start_soon(running.make, app, "/ai/v1/chat/completions", body)
        await backend.stalled.wait()
        running.gone.set()
    assert backend.left
    assert len(service.runs) == 0
