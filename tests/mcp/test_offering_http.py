"""An agent that is offered over streamable HTTP."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx2
import pytest
from mcp import Client
from pydantic import SecretStr

from ling_agent import Agent, ConfigurationError
from ling_agent.mcp import MCPServer
from ling_agent.mcp.offering import http_app, serve_http
from ling_agent.testing import ScriptedBackend

from ..helpers import GUARD
from .support import ROOT, TRIO_HTTP, text, written
from .test_offering import MODES, ask, said

pytestmark = [pytest.mark.anyio, TRIO_HTTP]

KEY = "the-right-key"


@asynccontextmanager
async def offered(state: Path, *keys: str) -> AsyncGenerator[str, None]:
    """The endpoint's URL; the server ends with the block, on a signal and without complaint."""
    command = [sys.executable, "-m", "tests.mcp.servers.offered", "http", str(state), *keys]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) as process:  # noqa: ASYNC220
        try:
            yield (await written(state / "url"))[0]
            process.send_signal(signal.SIGTERM)
            assert process.stderr is not None
            assert b"Traceback" not in process.stderr.read()
            assert process.wait(GUARD) in (0, -signal.SIGTERM)
        finally:
            process.kill()


@MODES
async def test_a_task_is_answered_and_a_call_cancelled(tmp_path: Path, mode: str) -> None:
    async with offered(tmp_path) as url:
        with anyio.fail_after(GUARD):
            async with Client(url, mode=mode) as connected:
                assert said(await ask(connected, "shout")) == "The tool says: HELLO"
                async with anyio.create_task_group() as group:
                    group.start_soon(ask, connected, "hang")
                    await written(tmp_path / "hanging")
                    group.cancel_scope.cancel()
                await written(tmp_path / "cancelled")


async def test_a_key_is_asked_for(tmp_path: Path) -> None:
    async with offered(tmp_path, "another-key", KEY) as url:
        async with httpx2.AsyncClient() as http:
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": KEY}):
                response = await http.post(url, headers=headers, json={})
                assert response.status_code == 401
                assert response.headers["www-authenticate"] == "Bearer"
        server = MCPServer.http(url, headers={"Authorization": f"Bearer {KEY}"})
        async with server.opened() as tools:
            assert await text(tools, "my_helper", task="count") == "This is task 1."


@pytest.mark.parametrize("key", ["", "two words", "line\n", "schlüssel"])
async def test_a_key_that_cannot_be_one(key: str) -> None:
    """An empty one would let in whoever sends ``Authorization: Bearer``."""
    for keys in ([KEY, key], [SecretStr(key)], SecretStr(key)):
        with pytest.raises(ConfigurationError, match="an API key is empty or holds characters"):
            http_app(agent(), api_keys=keys)
    with pytest.raises(ConfigurationError, match="an API key is empty or holds characters"):
        await serve_http(agent(), "0.0.0.0", api_keys=[key])


@pytest.mark.parametrize("keys", [KEY, SecretStr(KEY), [KEY]])
async def test_a_key_alone_is_one_key(keys: str | SecretStr | list[str]) -> None:
    app = http_app(agent(), api_keys=keys)
    transport = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http,
    ):
        for key, status in ((KEY, 400), (KEY[0], 401), ("", 401)):
            headers = {"Authorization": f"Bearer {key}"}
            assert (await http.post("/mcp", headers=headers, json={})).status_code == status


async def test_a_web_page_cannot_reach_it(tmp_path: Path) -> None:
    """A page that a user visits may have a name that leads to the user's own machine."""
    async with offered(tmp_path) as url, httpx2.AsyncClient() as http:
        for headers, status in (
            ({"Host": "evil.example"}, 421),
            ({"Origin": "https://evil.example"}, 403),
        ):
            response = await http.post(url, headers=headers, json={"jsonrpc": "2.0"})
            assert response.status_code == status


def agent() -> Agent[str]:
    return Agent(ScriptedBackend([]), name="helper")


async def test_other_machines_need_a_key() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        with pytest.raises(ConfigurationError, match="can be reached from other machines"):
            await serve_http(agent(), host)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_address_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1 port {port}: "):
            await serve_http(agent(), port=port)


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_trio_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="serve_http needs asyncio"):
        await serve_http(agent(), port=0)


async def test_an_application_answers_the_hosts_that_it_is_told() -> None:
    app = http_app(agent(), path="/", allowed_hosts=["agent.example"])
    transport = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://agent.example") as http,
    ):
        assert (await http.post("/", json={})).status_code == 400
        other = await http.post("http://other.example/", json={})
        assert other.status_code == 421
