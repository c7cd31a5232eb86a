"""Several servers of one model: which is asked, and what happens when one goes down."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import anyio
import pytest

from ling_agent import Agent, BackendUnavailable, RunResult, RunStatus
from ling_agent.backends import ModelRequest, VLLMBackend
from ling_agent.backends.base import Chunk, TextChunk
from ling_agent.messages import UserMessage

from .hostile import (
    Exchange,
    Handler,
    HostileServer,
    answer,
    delta,
    events,
    hostile,
    text_reply,
    usage,
)

pytestmark = pytest.mark.anyio


class Clock:
    """The time by which servers are left alone; it stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("ling_agent.backends.remote.servers.time", clock)
    return clock


async def ask(backend: VLLMBackend, conversation: str = "") -> str:
    request = ModelRequest((UserMessage("Hi."),), conversation=conversation)
    async with backend.stream(request) as chunks:
        return text([chunk async for chunk in chunks])


def text(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk))


def free_port() -> str:
    """The URL of a server that is not there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def backend_of(*urls: str, retries: int = 4) -> VLLMBackend:
    return VLLMBackend(",".join(urls), retries=retries)


@asynccontextmanager
async def several(
    count: int = 2, *, health: Handler | None = None
) -> AsyncGenerator[list[HostileServer], None]:
    """Servers that answer with their own number."""
    routes: dict[str, object] = {"/health": health or answer(b"", content_type="text/plain")}
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(hostile(text_reply(str(number)), routes=routes))
            for number in range(count)
        ]
        yield servers


class Door:
    """A server that can be closed: then it answers 503, to the question for its health as well."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.closed = False
        self.looked = 0

    async def completion(self, exchange: Exchange) -> None:
        if self.closed:
            await exchange.respond({"error": "draining"}, status=503)
        else:
            await text_reply(self.name)(exchange)

    async def health(self, exchange: Exchange) -> None:
        self.looked += 1
        await exchange.respond(b"", status=503 if self.closed else 200)

    def serve(self) -> AbstractAsyncContextManager[HostileServer]:
        return hostile(self.completion, routes={"/health": self.health})


async def test_one_of_two_that_is_down_does_not_matter() -> None:
    async with several(1) as (up,):
        for urls in ((free_port(), up.url), (up.url, free_port())):
            backend = backend_of(*urls)
            assert (await backend.describe()).model == "m"
            assert [await ask(backend) for _ in range(3)] == ["0"] * 3
            await backend.aclose()


async def test_when_all_are_down_the_error_names_one_and_comes_at_once() -> None:
    backend = backend_of(free_port(), free_port())
    with anyio.fail_after(5), pytest.raises(BackendUnavailable) as caught:
        await ask(backend)
    assert "none of 2 servers takes the request; the last one: cannot reach" in str(caught.value)
    await backend.aclose()


async def test_new_conversations_are_spread() -> None:
    async with several(3) as servers:
        backend = backend_of(*(server.url for server in servers))
        said = [await ask(backend, f"conversation {number}") for number in range(6)]
        assert sorted(said) == ["0", "0", "1", "1", "2", "2"]
        await backend.aclose()


async def test_a_new_conversation_goes_to_the_server_with_the_fewest_requests() -> None:
    release = anyio.Event()

    async def slow(exchange: Exchange) -> None:
        await exchange.begin_events()
        await exchange.event(delta(content="slow"))
        await release.wait()
        await exchange.event(delta("stop"))
        await exchange.end_events()

    async with hostile(slow) as first, hostile(text_reply("quick")) as second:
        backend = backend_of(first.url, second.url)
        said: list[str] = []

        async def one(name: str) -> None:
            said.append(await ask(backend, name))

        async with anyio.create_task_group() as group:
            group.start_soon(one, "a")
            with anyio.fail_after(5):
                while not first.requests:  # noqa: ASYNC110 - it has no event
                    await anyio.sleep(0.01)
            for number in range(4):
                await one(f"b{number}")
            release.set()
        assert said == ["quick"] * 4 + ["slow"]
        await backend.aclose()


async def test_a_conversation_stays_on_its_server() -> None:
    async with several(3) as servers:
        backend = backend_of(*(server.url for server in servers))
        homes = {name: await ask(backend, name) for name in "abcdef"}
        for name in "fedcbaabcdef":
            assert await ask(backend, name) == homes[name]
        await backend.aclose()


async def test_it_stays_there_also_when_the_server_is_busier() -> None:
    async with several(2) as servers:
        backend = backend_of(*(server.url for server in servers))
        home = await ask(backend, "a")
        request = ModelRequest((UserMessage("Hi."),), conversation="a")
        async with backend.stream(request):
            assert await ask(backend, "a") == home
        await backend.aclose()


async def test_a_server_that_was_down_is_asked_for_its_health_before_it_is_used(
    clock: Clock,
) -> None:
    door = Door("door")
    async with door.serve() as first, several(1) as (second,):
        backend = backend_of(first.url, second.url)
        assert await ask(backend, "a") == "door"
        door.closed = True
        assert await ask(backend, "a") == "0", "it moves at once"
        asked = len(first.requests)
        assert [await ask(backend, name) for name in "bcd"] == ["0"] * 3
        assert door.looked == 0, "it is left alone"
        clock.now += 6
        assert [await ask(backend, name) for name in "ef"] == ["0"] * 2
        assert door.looked == 1, "it is not well yet, and left alone again"
        assert len(first.requests) == asked, "no request is tried on it"
        door.closed = False
        clock.now += 6
        said = [await ask(backend, name) for name in "ghij"]
        assert door.looked == 2, "once: then it counts as up"
        assert sorted(said) == ["0", "0", "door", "door"]
        await backend.aclose()


async def test_a_conversation_that_moved_stays_where_it_is(clock: Clock) -> None:
    door = Door("door")
    async with door.serve() as first, several(1) as (second,):
        backend = backend_of(first.url, second.url)
        assert await ask(backend, "a") == "door"
        door.closed = True
        assert await ask(backend, "a") == "0"
        door.closed = False
        clock.now += 6
        assert await ask(backend, "a") == "0", "its prefix is there now"
        await backend.aclose()


async def test_a_run_goes_on_when_its_server_dies() -> None:
    """While a tool works; the next request finds the server gone, and no tool runs twice."""
    made: list[int] = []
    leaving, gone = anyio.Event(), anyio.Event()

    async def add(a: int) -> int:
        """Add one."""
        made.append(a)
        leaving.set()
        await gone.wait()
        return a + 1

    call = delta(
        tool_calls=[{"index": 0, "id": "x", "function": {"name": "add", "arguments": '{"a": 1}'}}]
    )
    results: list[RunResult] = []

    async def run(agent: Agent) -> None:
        results.append(await agent.run("Add."))

    async with several(1) as (second,), anyio.create_task_group() as group:
        async with hostile(events(call, delta("tool_calls"), usage())) as first:
            backend = backend_of(first.url, second.url)
            group.start_soon(run, Agent(backend, tools=[add], planning="off"))
            with anyio.fail_after(10):
                await leaving.wait()
        gone.set()
        with anyio.fail_after(10):
            while not results:  # noqa: ASYNC110 - it has no event
                await anyio.sleep(0.01)
        await backend.aclose()
    (result,) = results
    assert (result.status, result.output) == (RunStatus.completed, "0")
    assert made == [1]
    (body,) = second.requests
    assert [said["role"] for said in body["messages"]] == ["user", "assistant", "tool"]


async def test_a_stream_that_breaks_off_is_not_sent_to_another_server() -> None:
    async def breaks(exchange: Exchange) -> None:
        await exchange.begin_events()
        await exchange.event(delta(content="a"))
        await exchange.stream.aclose()

    async with hostile(breaks) as first, several(1) as (second,):
        backend = backend_of(first.url, second.url)
        with pytest.raises(BackendUnavailable, match="broke off"):
            await ask(backend, "a")
        assert second.requests == [], "the first one may have generated anything"
        await backend.aclose()


async def test_what_one_server_lacks_is_only_noted_for_it() -> None:
    reason = "structured outputs are not supported"

    async def old(exchange: Exchange) -> None:
        if "structured_outputs" in exchange.json:
            await exchange.respond({"error": reason}, status=400)
        else:
            await text_reply("old")(exchange)

    def look(where: str) -> str:
        """Look."""
        return where

    async with hostile(old) as first, several(1) as (second,):
        backend = backend_of(first.url, second.url)
        agent = Agent(backend, tools=[look], planning="off")
        results = [await agent.run("Hi.") for _ in range(4)]
        notes = {result.output: "\n".join(result.notes) for result in results[:2]}
        assert reason in notes["old"]
        assert reason not in notes["0"]
        assert ["structured_outputs" in body for body in first.requests] == [True, False, False]
        assert all("structured_outputs" in body for body in second.requests)
        await backend.aclose()


async def test_all_busy_is_waited_for_as_long_as_the_server_says() -> None:
    busy = answer({"error": "slow down"}, status=429, Retry_After="0.1")
    async with (
        hostile(text_reply("a"), busy, text_reply("a")) as first,
        hostile(busy, text_reply("b")) as second,
    ):
        backend = backend_of(first.url, second.url)
        assert await ask(backend) == "a"
        assert await ask(backend) in ("a", "b")
        assert len(first.requests) + len(second.requests) in (3, 4)
        await backend.aclose()


async def test_each_server_is_discovered_once() -> None:
    seen: list[str] = []

    async def version(exchange: Exchange) -> None:
        seen.append(exchange.headers["host"])
        await exchange.respond({"version": "0.32.0"})

    routes: dict[str, object] = {"/version": version}
    async with hostile(routes=routes) as first, hostile(routes=routes) as second:
        backend = backend_of(first.url, second.url)
        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(ask, backend, str(number))
        assert len(seen) == len(set(seen)) == 2
        await backend.aclose()
