"""HTTP on asyncio: framing, reuse of connections, faults, TLS, and how often a reader wakes."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.abc
import anyio.streams.tls
import httpx2
import pytest
import trustme

from ling_agent.backends.remote.connections import Connections
from ling_agent.backends.remote.timeouts import Timeouts
from ling_agent.backends.remote.transport import HttpTransport
from ling_agent.errors import BackendUnavailable

from .hostile import Exchange, Handler, HostileServer, delta, events, hostile, usage

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def client() -> AsyncGenerator[httpx2.AsyncClient]:
    transport = Connections(keep_alive=4.0)
    async with httpx2.AsyncClient(transport=transport, timeout=5.0) as made:
        yield made


def raw(*pieces: bytes, close: bool = False) -> Handler:
    """A handler that sends these bytes."""

    async def handler(exchange: Exchange) -> None:
        for piece in pieces:
            await exchange.send(piece)
            await anyio.sleep(0.01)
        if close:
            await exchange.stream.aclose()

    return handler


FRAMED: dict[str, tuple[bytes, ...]] = {
    "with a length": (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",),
    "in pieces": (b"HTTP/1.1 200 OK\r\nconte", b"nt-length: 5\r\n\r", b"\nhel", b"lo"),
    "chunked": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n",
        b"2\r\nlo\r\n0\r\n\r\n",
    ),
    "behind an interim response": (
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    ),
}


@pytest.mark.parametrize("name", FRAMED)
async def test_a_body_is_read_however_it_is_framed(name: str) -> None:
    async with hostile(raw(*FRAMED[name])) as server, client() as made:
        for _ in range(2):
            response = await made.post(f"{server.url}/v1/completions", json={})
            assert (response.status_code, response.text) == (200, "hello")
            assert "link" not in response.headers
        assert server.opened == 1


async def test_a_body_without_a_length_ends_with_its_connection() -> None:
    handler = raw(b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo", close=True)
    async with hostile(handler) as server, client() as made:
        for _ in range(2):
            assert (await made.post(f"{server.url}/v1/completions", json={})).text == "hello"
        assert server.opened == 2


async def test_a_server_that_does_not_keep_the_connection_gets_another_one() -> None:
    handler = raw(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi")
    async with hostile(handler) as server, client() as made:
        for _ in range(2):
            assert (await made.post(f"{server.url}/v1/completions", json={})).text == "hi"
        assert server.opened == 2


async def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_one() -> None:
    good = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
    evil = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
    async with hostile(raw(good, evil), raw(good)) as server, client() as made:
        assert (await made.post(f"{server.url}/v1/completions", json={})).text == "hi"
        await anyio.sleep(0.1)
        assert (await made.post(f"{server.url}/v1/completions", json={})).text == "hi"
        assert server.opened == 2


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        ((b"SSH-2.0-OpenSSH\r\n\r\n",), "no HTTP"),
        ((b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nhi",), "no HTTP"),
        ((b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",), "no HTTP"),
        ((b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",), "no HTTP"),
        ((b"HTTP/1.1 200 OK\r\n", *[b"a: " + b"x" * 65536 + b"\r\n"] * 5), "headers are longer"),
        ((b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi",), "before the answer had ended"),
        ((b"",), "without sending a response"),
    ],
)
async def test_what_is_no_answer_is_an_error(pieces: tuple[bytes, ...], says: str) -> None:
    async with hostile(raw(*pieces, close=True)) as server, client() as made:
        with pytest.raises(httpx2.TransportError, match=says):
            await made.post(f"{server.url}/v1/completions", json={})


async def test_a_large_request_and_a_large_answer_pass() -> None:
    async def echo(exchange: Exchange) -> None:
        await exchange.respond(exchange.body)

    body = b'"' + b"x" * 5_000_000 + b'"'
    async with hostile(echo) as server, client() as made:
        response = await made.post(f"{server.url}/v1/completions", content=body)
        assert response.content == body


async def test_a_reader_that_is_slow_makes_the_server_wait() -> None:
    """The server cannot send more than the buffers hold while nobody reads."""
    sent = 0

    async def endless(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.begin_events()
        while sent < 100_000_000:
            await exchange.chunk(b"x" * 100_000)
            sent += 100_000

    async with hostile(endless) as server, client() as made:
        request = made.build_request("POST", f"{server.url}/v1/completions", json={})
        response = await made.send(request, stream=True)
        await anyio.sleep(0.5)
        assert sent < 50_000_000
        await response.aclose()


async def test_events_that_come_quickly_are_read_together() -> None:
    many = [delta(content="a") for _ in range(300)]

    async def quick(exchange: Exchange) -> None:
        await exchange.begin_events()
        for event in (*many, delta("stop"), usage()):
            await exchange.event(event)
            await anyio.sleep(0.001)
        await exchange.end_events()

    async with hostile(quick) as server:
        counts: dict[float, int] = {}
        for pace in (0.0, 0.1):
            transport = HttpTransport(server.url, api_key=None, timeouts=Timeouts())
            batches: list[int] = []
            async with transport.events("/v1/completions", {}, pace=pace) as stream:
                batches = [len(batch) async for batch in stream]
            assert sum(batches) == 302
            counts[pace] = len(batches)
            await transport.aclose()
        assert counts[0.1] < counts[0.0] / 2


async def test_the_first_event_does_not_wait_for_the_pace() -> None:
    async def two(exchange: Exchange) -> None:
        await exchange.begin_events()
        await exchange.event(delta(content="a"))
        await exchange.stream.receive()

    async with hostile(two) as server:
        transport = HttpTransport(server.url, api_key=None, timeouts=Timeouts())
        with anyio.fail_after(5):
            async with transport.events("/v1/completions", {}, pace=60.0) as stream:
                async for batch in stream:
                    assert batch[0]["choices"][0]["delta"]["content"] == "a"
                    break
        await transport.aclose()


@asynccontextmanager
async def over_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, trusted: bool
) -> AsyncGenerator[str]:
    """A hostile server with a certificate for localhost; its URL."""
    authority = trustme.CA()
    file = tmp_path / "authority.pem"
    (authority if trusted else trustme.CA()).cert_pem.write_to_path(file)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    server = HostileServer((events(delta(content="hi"), delta("stop"), usage()),))
    plain = await anyio.create_tcp_listener(local_host="localhost")
    listener = anyio.streams.tls.TLSListener(plain, context, standard_compatible=False)
    port = plain.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, cast("Any", server.serve))
        yield f"https://localhost:{port}"
        group.cancel_scope.cancel()


async def test_tls_is_spoken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with over_tls(tmp_path, monkeypatch, trusted=True) as url:
        transport = HttpTransport(url, api_key=None, timeouts=Timeouts())
        async with transport.events("/v1/completions", {}) as stream:
            received = [event async for batch in stream for event in batch]
        assert received[0]["choices"][0]["delta"]["content"] == "hi"
        await transport.aclose()


async def test_a_certificate_that_is_not_trusted_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with over_tls(tmp_path, monkeypatch, trusted=False) as url:
        transport = HttpTransport(url, api_key=None, timeouts=Timeouts())
        with pytest.raises(BackendUnavailable, match="certificate is not trusted"):
            await transport.get("/v1/models")
        await transport.aclose()
