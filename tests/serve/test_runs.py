"""Runs at once, clients that go away, and a server that ends."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import pytest

from ling_agent import (
    RunContext,
    tool,
)
from ling_agent.backends import ModelRequest
from ling_agent.memory import InMemoryStore, Memory, Store
from ling_agent.serve import asgi
from ling_agent.testing import ScriptedBackend
from ling_agent.testing.scripted import Reply

from ..helpers import GUARD, StallingBackend, call
from .agents import PATH, agent_of, kept, newest
from .asgi import Call, chat, content, get, request

pytestmark = pytest.mark.anyio


class TestLimits:
    async def test_more_runs_than_allowed_are_refused_and_the_place_is_given_back(self) -> None:
        backend, running = StallingBackend("a"), Call()
        app = asgi(agent_of(backend), max_runs=1)
        async with anyio.create_task_group() as group:
            group.start_soon(running.make, app, PATH, json.dumps(request("x")).encode())
            await backend.stalled.wait()
            answer = await chat(app, "x")
            assert (answer.status, answer.error["code"]) == (429, "too_many_runs")
            assert int(answer.headers["retry-after"]) >= 1
            running.gone.set()
        assert len(app.runs) == 0

    async def test_a_session_has_one_run_at_a_time(self) -> None:
        backend, running = StallingBackend("a"), Call()
        app = asgi(agent_of(backend))
        body = json.dumps(request("x")).encode()
        async with anyio.create_task_group() as group:
            headers = {"x-session-id": "s"}
            group.start_soon(lambda: running.make(app, PATH, body, headers=headers))
            await backend.stalled.wait()
            answer = await chat(app, "x", session="s")
            assert (answer.status, answer.error["code"]) == (409, "session_busy")
            running.gone.set()

    async def test_many_at_once_get_their_own_answers(self) -> None:
        backend = ScriptedBackend([newest] * 30, chunk_size=1)
        app, got = asgi(agent_of(backend, tools=[])), dict[str, str]()

        async def ask(name: str) -> None:
            got[name] = content((await chat(app, name, stream=True)).data())

        async with anyio.create_task_group() as group:
            for number in range(30):
                group.start_soon(ask, f"number {number}")
        assert got == {name: name for name in (f"number {number}" for number in range(30))}


class TestDisconnects:
    @pytest.mark.parametrize("stream", [False, True])
    async def test_one_cancels_the_run(self, stream: bool) -> None:
        backend, running = StallingBackend("a"), Call()
        agent = agent_of(backend)
        app = asgi(agent)
        async with anyio.create_task_group() as group:
            body = json.dumps(request("x", stream=stream)).encode()
            group.start_soon(running.make, app, PATH, body)
            await backend.stalled.wait()
            running.gone.set()
        assert backend.left
        assert (len(app.runs), kept(agent)) == (0, [])

    async def test_a_tool_in_a_thread_is_told(self) -> None:
        started, seen = threading.Event(), threading.Event()

        @tool
        def wait(ctx: RunContext[None]) -> str:
            """Wait."""
            started.set()
            while not ctx.cancelled:
                pass
            seen.set()
            return "told"

        running, agent = Call(), agent_of(call("wait"), tools=[wait])
        app = asgi(agent)
        async with anyio.create_task_group() as group:
            body = json.dumps(request("x", stream=True)).encode()
            group.start_soon(running.make, app, PATH, body)
            await anyio.to_thread.run_sync(started.wait)
            running.gone.set()
        assert await anyio.to_thread.run_sync(seen.wait, GUARD)
        assert (len(app.runs), kept(agent)) == (0, [])

    async def test_silence_behind_a_lost_client_keeps_nothing_busy(self) -> None:
        class Holding(StallingBackend):
            """Ends a little late, as a tool does that cleans up."""

            @asynccontextmanager
            async def stream(self, request: ModelRequest) -> AsyncGenerator[Any, None]:
                async with super().stream(request) as chunks:
                    try:
                        yield chunks
                    finally:
                        with anyio.CancelScope(shield=True):
                            await anyio.sleep(0.05)

        backend, running = Holding("a"), Call()
        app = asgi(agent_of(backend), keepalive=0.001)
        async with anyio.create_task_group() as group:
            body = json.dumps(request("x", stream=True)).encode()
            group.start_soon(running.make, app, PATH, body)
            await backend.stalled.wait()
            running.gone.set()
        assert len(app.runs) == 0

    async def test_a_session_keeps_what_was_done(self) -> None:
        backend, running = StallingBackend("half"), Call()
        agent = agent_of(backend)
        async with anyio.create_task_group() as group:
            body = json.dumps(request("x", stream=True)).encode()
            headers = {"x-session-id": "s"}
            group.start_soon(lambda: running.make(asgi(agent), PATH, body, headers=headers))
            await backend.stalled.wait()
            running.gone.set()
        (info,) = agent.memory.store.runs()
        assert (info.run_id, info.status) == ("http:s", "cancelled")

    async def test_a_server_that_raises_on_a_lost_connection(self) -> None:
        app = asgi(agent_of(Reply("abc", chunk_size=1)))
        pieces = [json.dumps(request("x", stream=True)).encode()]

        async def receive() -> dict[str, Any]:
            if pieces:
                return {"type": "http.request", "body": pieces.pop(), "more_body": False}
            await anyio.sleep_forever()
            raise AssertionError

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                raise OSError

        scope = {
            "type": "http",
            "method": "POST",
            "path": PATH,
            "headers": [(b"content-type", b"application/json")],
        }
        with anyio.fail_after(GUARD):
            await app(scope, receive, send)
        assert len(app.runs) == 0


class TestDraining:
    async def test_a_run_gets_its_time(self) -> None:
        backend, running = StallingBackend("a"), Call()
        app = asgi(agent_of(backend))
        async with anyio.create_task_group() as group:
            body = json.dumps(request("x", stream=True)).encode()
            group.start_soon(running.make, app, PATH, body)
            await backend.stalled.wait()
            group.start_soon(app.runs.drain, 0.01)
            while not app.runs.draining:
                await anyio.lowlevel.checkpoint()
            refused = await chat(app, "x")
            assert (refused.status, refused.error["code"]) == (503, "shutting_down")
            assert refused.headers["connection"] == "close"
            assert (await get(app, "/health")).status == 503
        last = running.answer.data()[-1]
        assert "shutting down" in last["error"]["message"]

    async def test_what_was_cut_off_stays_in_a_store_that_lasts(self) -> None:
        backend, running = StallingBackend("a"), Call()
        agent = agent_of(backend, memory=Memory(cast("Store", _LastingStandIn())))
        app = asgi(agent)
        async with anyio.create_task_group() as group:
            group.start_soon(running.make, app, PATH, json.dumps(request("x")).encode())
            await backend.stalled.wait()
            await app.runs.drain(0)
        assert running.answer.status == 503
        (info,) = agent.memory.store.runs()
        assert info.status == "cancelled"


class _LastingStandIn:
    """A store of this process in place of one on a disk: it is no `InMemoryStore`."""

    def __init__(self) -> None:
        self._store = InMemoryStore()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._store

    blocking = False
