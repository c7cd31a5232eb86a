"""A server that is a child process: its tools, its end, and what it writes."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import anyio
import mcp.client.stdio
import pytest

from ling_agent.mcp import MCPProgress
from ling_agent.tools import Toolset

from .support import ROOT, bench, call, gone, text

pytestmark = pytest.mark.anyio

PROTOCOLS = pytest.mark.parametrize("flags", [(), ("--old",)], ids=["2026", "2025"])


@PROTOCOLS
async def test_tools_are_the_servers(tmp_path: Path, flags: tuple[str, ...]) -> None:
    async with bench(tmp_path, *flags).opened() as tools:
        add = Toolset(tools)["add"]
        assert add.description == "Add two numbers."
        assert add.parameters["properties"]["a"]["type"] == "integer"
        assert add.parameters["required"] == ["a", "b"]
        assert (add.timeout, add.idempotent, add.requires_approval) == (60.0, True, False)
        assert await text(tools, "add", a=1, b=2) == "3"


async def test_arguments_are_checked_before_the_server_is_asked(tmp_path: Path) -> None:
    async with bench(tmp_path).opened() as tools:
        outcome = await call(tools, "add", a="one", b=2)
    assert outcome.is_error
    assert outcome.attempts == 0


async def test_arguments_may_have_any_name(tmp_path: Path) -> None:
    async with bench(tmp_path).opened() as tools:
        assert await text(tools, "echo", ctx="a", self="b", name="c") == "a|b|c"


@PROTOCOLS
async def test_a_failure_has_the_servers_words(tmp_path: Path, flags: tuple[str, ...]) -> None:
    async with bench(tmp_path, *flags).opened() as tools:
        outcome = await call(tools, "fail", reason="the shelf is empty")
        assert outcome.is_error
        assert outcome.text == "Error: Error executing tool fail: the shelf is empty"
        assert await text(tools, "silence", failed=True) == (
            "Error: the tool failed without saying why"
        )


@PROTOCOLS
async def test_progress_is_emitted_in_order(tmp_path: Path, flags: tuple[str, ...]) -> None:
    events: list[object] = []
    async with bench(tmp_path, *flags).opened() as tools:
        await call(tools, "count", progress=events, steps=3)
    progress = [event for event in events if isinstance(event, MCPProgress)]
    assert progress == events
    assert progress
    assert sorted(progress, key=lambda event: event.progress) == progress
    assert progress[-1] == MCPProgress(3.0, 3.0, "step 3")


async def test_the_working_directory_is_the_one_given(tmp_path: Path) -> None:
    async with bench(tmp_path).opened() as tools:
        assert await text(tools, "cwd") == str(ROOT.resolve())


async def test_a_server_ends_with_its_connection(tmp_path: Path) -> None:
    async with bench(tmp_path).opened() as tools:
        pid = int(await text(tools, "pid"))
        os.kill(pid, 0)
    await gone(pid)


async def test_a_server_that_ignores_everything_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp.client.stdio, "PROCESS_TERMINATION_TIMEOUT", 0.2)
    monkeypatch.setattr(mcp.client.stdio, "FORCE_KILL_TIMEOUT", 0.2)
    async with bench(tmp_path, "--stubborn").opened() as tools:
        pid = int(await text(tools, "pid"))
    await gone(pid)


async def test_a_server_ends_when_the_task_that_opened_it_is_cancelled(tmp_path: Path) -> None:
    pid = 0
    with anyio.CancelScope() as scope:
        async with bench(tmp_path) as server, server.opened() as tools:
            pid = int(await text(tools, "pid"))
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    await gone(pid)


async def test_an_error_of_the_body_is_raised_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with bench(tmp_path) as server, server.opened():
            raise KeyError("mine")


async def test_stderr_goes_to_the_log_and_not_to_the_terminal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG, "ling_agent.mcp")
    async with bench(tmp_path).opened():
        pass
    (line,) = [m for m in caplog.messages if "bench begins" in m]
    assert line == "python tests.mcp.servers.bench wrote to stderr: bench begins"
    assert capfd.readouterr() == ("", "")


async def test_noise_on_stdout_is_survived(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with bench(tmp_path, "--noisy").opened() as tools:
        assert await text(tools, "add", a=1, b=2) == "3"
    assert capfd.readouterr() == ("", "")
