"""One connection and many runs: their calls go side by side, and none can take it down."""

from __future__ import annotations

import threading
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from ling_agent import ConfigurationError
from ling_agent.mcp import MCPServer

from .support import Tools, bench, text, written

pytestmark = pytest.mark.anyio


async def test_twenty_calls_are_under_way_at_once(tmp_path: Path) -> None:
    """None of them returns before all of them are at the server."""
    texts: list[str] = []

    async def meet(server: MCPServer) -> None:
        async with server.opened() as tools:
            texts.append(await text(tools, "meet", count=20, key="met"))

    async with bench(tmp_path) as server, anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(meet, server)
    assert texts == ["met"] * 20
    assert len(await written(tmp_path / "begun")) == 1


@pytest.mark.parametrize("flags", [(), ("--old",)], ids=["2026", "2025"])
async def test_cancelling_one_run_cancels_its_call_and_nothing_else(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    texts: list[str] = []

    async def meet(tools: Tools) -> None:
        texts.append(await text(tools, "meet", count=2, key="met"))

    async def hang(server: MCPServer) -> None:
        async with server.opened() as tools:
            await text(tools, "hang")

    async with (
        bench(tmp_path, *flags) as server,
        server.opened() as tools,
        anyio.create_task_group() as others,
    ):
        others.start_soon(meet, tools)
        await written(tmp_path / "met")
        async with anyio.create_task_group() as cancelled:
            cancelled.start_soon(hang, server)
            await written(tmp_path / "hanging")
            cancelled.cancel_scope.cancel()
        await written(tmp_path / "cancelled")
        others.start_soon(meet, tools)
    assert texts == ["met", "met"]
    assert len(await written(tmp_path / "begun")) == 1


async def test_a_call_that_takes_too_long_is_cancelled_on_the_server(tmp_path: Path) -> None:
    async with bench(tmp_path, timeout=0.2).opened() as tools:
        assert await text(tools, "hang") == (
            "Error: tool 'hang' took longer than 0.2 s and was stopped"
        )
        await written(tmp_path / "cancelled")


async def test_a_server_that_is_not_held_is_opened_by_each_run(tmp_path: Path) -> None:
    server = bench(tmp_path)
    async with server.opened() as first, server.opened() as second:
        assert await text(first, "pid") != await text(second, "pid")


async def test_another_event_loop_opens_its_own(tmp_path: Path, anyio_backend: str) -> None:
    server = bench(tmp_path)
    pids: list[str] = []

    async def ask() -> None:
        async with server.opened() as tools:
            pids.append(await text(tools, "pid"))

    def elsewhere() -> None:
        thread = threading.Thread(target=lambda: anyio.run(ask, backend=anyio_backend))
        thread.start()
        thread.join()

    async with server:
        await ask()
        await anyio.to_thread.run_sync(elsewhere)
        await ask()
    assert pids[0] == pids[2] != pids[1]


async def test_it_is_held_once(tmp_path: Path) -> None:
    async with bench(tmp_path) as server:
        with pytest.raises(ConfigurationError, match="is open in this event loop already"):
            async with server:
                pass
    async with server, server.opened() as tools:
        assert await text(tools, "add", a=1, b=2) == "3"


async def test_tools_of_a_closed_connection_say_so(tmp_path: Path) -> None:
    async with bench(tmp_path).opened() as tools:
        pass
    assert await text(tools, "add", a=1, b=2) == (
        "Error: MCP server 'python tests.mcp.servers.bench': the connection is closed; use it "
        "inside its 'async with'"
    )


@pytest.mark.parametrize("flags", [(), ("--old",)], ids=["2026", "2025"])
async def test_a_changed_listing_is_shown_to_the_next_run(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    async with bench(tmp_path, *flags) as server:
        async with server.opened() as tools:
            before = [tool.name for tool in tools]
            assert await text(tools, "learn", word="fly") == "learned"
            assert [tool.name for tool in tools] == before
        async with server.opened() as tools:
            assert {tool.name for tool in tools} == {*before, "fly"}
            assert await text(tools, "fly") == "fly"
