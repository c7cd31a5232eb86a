"""A server over streamable HTTP: its calls, its death, and the sessions that it forgets."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import anyio
import pytest

from ling_agent.mcp import MCPProgress, MCPServer, connection

from .support import TRIO_HTTP, HTTPBench, Tools, call, http_bench, text, written

pytestmark = [pytest.mark.anyio, TRIO_HTTP]


@pytest.fixture(params=[(), ("--old",)], ids=["2026", "2025"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[HTTPBench, None, None]:
    """One for each protocol."""
    with http_bench(tmp_path, *request.param) as started:
        yield started


@pytest.fixture
def old(tmp_path: Path) -> Generator[HTTPBench, None, None]:
    """One that keeps sessions."""
    with http_bench(tmp_path, "--old") as started:
        yield started


async def test_tools_are_called(server: HTTPBench) -> None:
    await server.start()
    events: list[object] = []
    async with MCPServer.http(server.url).opened() as tools:
        assert await text(tools, "add", a=1, b=2) == "3"
        assert await text(tools, "weather", city="Oslo") == '{"city":"Oslo","degrees":21.5}'
        assert (await call(tools, "fail", reason="no")).is_error
        await call(tools, "count", progress=events, steps=3)
    assert events[-1] == MCPProgress(3.0, 3.0, "step 3")


async def test_a_cancelled_call_is_cancelled_on_the_server(server: HTTPBench) -> None:
    await server.start()
    async with MCPServer.http(server.url) as shared, shared.opened() as tools:
        async with anyio.create_task_group() as group:
            group.start_soon(text, tools, "hang")
            await written(server.state / "hanging")
            group.cancel_scope.cancel()
        await written(server.state / "cancelled")
        assert await text(tools, "add", a=1, b=2) == "3"


async def test_a_changed_listing_is_shown_to_the_next_run(server: HTTPBench) -> None:
    await server.start()
    async with MCPServer.http(server.url) as shared:
        async with shared.opened() as tools:
            before = [tool.name for tool in tools]
            assert await text(tools, "learn", word="fly") == "learned"
            assert [tool.name for tool in tools] == before
        async with shared.opened() as tools:
            assert {tool.name for tool in tools} == {*before, "fly"}
            assert await text(tools, "fly") == "fly"


async def test_a_restarted_server_is_used_again(server: HTTPBench) -> None:
    await server.start()
    async with MCPServer.http(server.url).opened() as tools:
        first = await text(tools, "pid")
        server.stop()
        await server.start()
        assert await text(tools, "wipe", path="x") == "wiped x"
        assert await text(tools, "pid") != first


async def test_calls_that_find_the_session_forgotten_together_are_all_made(
    old: HTTPBench,
) -> None:
    await old.start()
    texts: list[str] = []

    async def wipe(tools: Tools) -> None:
        texts.append(await text(tools, "wipe", path="x"))

    async with MCPServer.http(old.url).opened() as tools:
        old.stop()
        await old.start()
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(wipe, tools)
    assert texts == ["wiped x"] * 8


async def test_a_server_that_dies_during_calls(server: HTTPBench) -> None:
    await server.start()
    texts: list[str] = []

    async def hang(tools: Tools) -> None:
        texts.append(await text(tools, "hang"))

    async with MCPServer.http(server.url).opened() as tools:
        async with anyio.create_task_group() as group:
            group.start_soon(hang, tools)
            group.start_soon(hang, tools)
            await written(server.state / "hanging", 2)
            server.kill()
        label = server.url.removeprefix("http://")
        lost = f"Error: the MCP server '{label}' was lost during the call: nobody knows whether "
        assert texts == [f"{lost}it took effect; find out before you call again"] * 2
        answer = await text(tools, "wipe", path="x")
        assert answer.startswith(f"Error: MCP server '{label}' cannot be reached: ")
        await server.start()
        assert await text(tools, "wipe", path="x") == "wiped x"


async def test_an_idempotent_call_that_was_interrupted_is_made_again(
    server: HTTPBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PAUSES", [0.1] * 200)  # however long it takes to start
    await server.start()
    texts: list[str] = []

    async def die(tools: Tools) -> None:
        texts.append(await text(tools, "die_once", key="deaths"))

    async with MCPServer.http(server.url).opened() as tools, anyio.create_task_group() as group:
        group.start_soon(die, tools)
        await written(server.state / "deaths")
        server.kill()
        await server.start()
    assert texts == ["survived"]


async def test_a_session_ends_with_its_connection(old: HTTPBench) -> None:
    await old.start()
    async with MCPServer.http(old.url).opened():
        pass
    assert (await written(old.state / "methods", 3)).count("DELETE") == 1
