"""A server that dies: what the interrupted calls are told, and how it is reached again."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path

import anyio
import pytest

from ling_agent.mcp import connection

from ..helpers import GUARD
from .support import Tools, bench, call, text, written

pytestmark = pytest.mark.anyio

PROTOCOLS = pytest.mark.parametrize("flags", [(), ("--old",)], ids=["2026", "2025"])
LOST = (
    "Error: the MCP server 'python tests.mcp.servers.bench' was lost during the call: nobody knows "
    "whether it took effect; find out before you call again"
)


@PROTOCOLS
async def test_an_interrupted_call_is_not_made_again(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    async with bench(tmp_path, *flags).opened() as tools:
        assert await text(tools, "die", key="deaths") == LOST
        assert await written(tmp_path / "deaths") == [""]
        assert await text(tools, "add", a=1, b=2) == "3"
    assert len(await written(tmp_path / "begun")) == 2


@PROTOCOLS
async def test_an_interrupted_call_that_is_idempotent_is_made_again(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    async with bench(tmp_path, *flags).opened() as tools:
        assert await text(tools, "die_once", key="deaths") == "survived"
    assert len(await written(tmp_path / "deaths")) == 2


async def test_every_call_under_way_is_told(tmp_path: Path) -> None:
    texts: list[str] = []

    async def hang(tools: Tools) -> None:
        texts.append(await text(tools, "hang"))

    async with bench(tmp_path).opened() as tools:
        pid = int(await text(tools, "pid"))
        async with anyio.create_task_group() as group:
            group.start_soon(hang, tools)
            group.start_soon(hang, tools)
            await written(tmp_path / "hanging", 2)
            os.kill(pid, signal.SIGKILL)
    assert texts == [LOST, LOST]


async def test_a_server_that_died_between_calls_is_started_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ling_agent.mcp")
    async with bench(tmp_path) as server:
        async with server.opened() as tools:
            pid = int(await text(tools, "pid"))
            os.kill(pid, signal.SIGKILL)
            with anyio.fail_after(GUARD):
                while "was lost" not in caplog.text:  # noqa: ASYNC110 - a log has no event
                    await anyio.sleep(0.01)
            outcomes = [await call(tools, "wipe", path="x") for _ in range(2)]
        assert [outcome.text for outcome in outcomes] == ["wiped x", "wiped x"]
        async with server.opened() as tools:
            assert int(await text(tools, "pid")) != pid
    assert len(await written(tmp_path / "begun")) == 2


async def test_a_server_that_does_not_come_back_is_looked_for_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PAUSES", (0.0, 0.0))
    async with bench(tmp_path, "--once").opened() as tools:
        assert await text(tools, "die", key="deaths") == LOST
        for _ in range(2):
            assert await text(tools, "add", a=1, b=2) == (
                "Error: MCP server 'python tests.mcp.servers.bench' exited before it answered; "
                "the last line of its stderr: bench does not begin twice"
            )
    # Once at first, and three times for each of the two calls.
    assert len(await written(tmp_path / "tried")) == 7
