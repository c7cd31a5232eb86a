"""Whole runs on a real server, and what the server says about them."""

from __future__ import annotations

from itertools import pairwise

import anyio
import pytest

from examples.marketplace_search.agent import INSTRUCTIONS
from examples.marketplace_search.market import SnapshotMarket
from examples.marketplace_search.tools import make_tools
from ling_agent import Agent, CancelToken, ContextOverflow, Limits, RunStatus, Sampling
from ling_agent.backends import Backend
from ling_agent.events import TextDelta, ToolStarted
from ling_agent.testing.conformance import BackendConformance
from scripts.servers.launch import LocalServer

from .support import ask, backend_for, question, until_running

pytestmark = pytest.mark.anyio

LONG_ANSWER = "Count from 1 to 300 in words, one number a line."


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def marketplace(backend: Backend) -> Agent:
    return Agent(
        backend,
        tools=make_tools(SnapshotMarket()),
        instructions=INSTRUCTIONS,
        limits=Limits(max_steps=8, max_tool_calls=4),
        sampling=Sampling(max_tokens=256),
    )


@pytest.mark.parametrize("mode", ["chat", "raw"])
async def test_a_whole_marketplace_run(server: LocalServer, mode: str) -> None:
    result = await marketplace(backend_for(server, mode=mode)).run("Find the cheapest RTX 4090.")
    assert result.status is RunStatus.completed, result.error
    seen = [observation for step in result.steps for observation in step.observations]
    assert any("4090" in each.content for each in seen if not each.is_error)
    assert result.output
    if mode == "raw":
        # The plan is begun for the model, as in the embedded engine: so it also gets it right.
        assert result.plan is not None
        first = next(call for step in result.steps for call in step.message.calls)
        assert first.name == "browse_marketplace"
        assert "29181" in result.output or "0.28" in result.output
    # Cached tokens are reported, and grow from request to request. A step may have several, and
    # questions aside; of an answer that was left in the middle they are not told.
    assert None not in [step.usage.cached_tokens for step in result.steps]
    live = [e.data for e in result.trajectory if e.kind == "usage" and not e.data.get("aside")]
    cached = [data["cached_tokens"] for data in live if data["cached_tokens"] is not None]
    assert cached[-1] > 0, live
    assert cached == sorted(cached), live
    assert [note for note in result.notes if "returned calls as text" not in note] == []


async def test_each_request_of_the_raw_mode_extends_the_last_one(server: LocalServer) -> None:
    """All of an earlier prompt and its answer comes from the cache, but for the last block."""
    backend = backend_for(server, mode="raw")
    agent = Agent(
        backend,
        tools=make_tools(SnapshotMarket()),
        planning="off",
        limits=Limits(max_steps=3),
        sampling=Sampling(max_tokens=96),
    )
    result = await agent.run("Find the cheapest RTX 4090.")
    usages = [step.usage for step in result.steps]
    assert len(usages) >= 2
    block = 128  # of vLLM on a CPU; SGLang's is smaller
    for earlier, later in pairwise(usages):
        assert later.cached_tokens is not None
        known = earlier.prompt_tokens + earlier.completion_tokens
        assert later.cached_tokens > known - 2 * block


async def test_cancelling_aborts_the_request_on_the_server(server: LocalServer) -> None:
    await until_running(server, 0)
    token = CancelToken()
    agent = Agent(backend_for(server), sampling=Sampling(max_tokens=2000))
    async with agent.stream(LONG_ANSWER, cancel=token) as run:
        async for event in run:
            if isinstance(event, TextDelta):
                await until_running(server, 1)
                token.cancel()
                break
    await until_running(server, 0)
    async with anyio.create_task_group() as group:  # and one that is not streamed

        async def whole() -> None:
            await ask(
                backend_for(server, stream=False),
                question(LONG_ANSWER, tools=(), max_tokens=2000),
            )

        group.start_soon(whole)
        await until_running(server, 1)
        group.cancel_scope.cancel()
    await until_running(server, 0)


async def test_a_prompt_that_is_too_long_is_reported_before_it_is_sent(
    server: LocalServer,
) -> None:
    long = "word " * 9000
    for mode in ("chat", "raw"):
        with pytest.raises(ContextOverflow, match="context window 8,192") as caught:
            await ask(backend_for(server, mode=mode), question(long, tools=()))
        assert caught.value.prompt_tokens > 8192
        assert caught.value.context_window == 8192


@pytest.mark.parametrize("mode", ["chat", "raw"])
async def test_an_answer_is_asked_for_no_longer_than_there_is_room(
    server: LocalServer, mode: str
) -> None:
    """Servers refuse more than their window; here it is said to be of 400 tokens."""
    backend = backend_for(server, mode=mode, context_window=400)
    request = question("word " * 330 + "\nCount to 100.", tools=(), max_tokens=1000)
    _, end = await ask(backend, request)
    assert 330 < end.usage.prompt_tokens < 400
    assert end.usage.prompt_tokens + end.usage.completion_tokens <= 400


async def test_a_tool_does_not_run_twice_when_the_server_dies(server: LocalServer) -> None:
    """Killed in the middle of a stream and started again: the run goes on where it was."""
    calls: list[str] = []

    def add(a: int, b: int) -> str:
        """Add two numbers."""
        calls.append(f"{a} + {b}")
        return f"{a + b}. {LONG_ANSWER}"

    agent = Agent(
        backend_for(server, mode="chat", retries=1),
        tools=[add],
        planning="off",
        sampling=Sampling(max_tokens=400),
        limits=Limits(max_steps=4, max_tool_calls=1),
    )
    async with agent.stream("What is 1+2?") as run:
        started = False
        async for event in run:
            started = started or isinstance(event, ToolStarted)
            if started and isinstance(event, TextDelta):
                await anyio.to_thread.run_sync(server.kill)
                started = False
    result = run.result
    assert calls == ["1 + 2"]
    assert result.status is RunStatus.failed
    assert "broke off" in str(result.error)
    await anyio.to_thread.run_sync(server.start)
    again = await agent.resume(result.run_id, limits=Limits(max_steps=4, max_tool_calls=0))
    assert again.status in (RunStatus.completed, RunStatus.max_tokens)
    assert again.output
    assert calls == ["1 + 2"], "the tool ran twice"


class TestConformance(BackendConformance):
    @pytest.fixture(autouse=True, params=["chat", "raw"])
    def on_server(self, request: pytest.FixtureRequest, server: LocalServer) -> None:
        self._server, self._mode = server, request.param

    def make(self) -> Backend:
        return backend_for(self._server, mode=self._mode)
