"""`Agent.run_sync`: without a loop, in one, in a callback of one, in a thread; Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars

import anyio
import anyio.to_thread
import pytest
import trio

from ling_agent import Agent, BackendUnavailable, tool
from ling_agent.testing import ScriptedBackend

from .helpers import call, observations


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def agent_with(*script: str) -> Agent:
    return Agent(ScriptedBackend(script), tools=[add], planning="off")


def test_without_a_loop() -> None:
    assert agent_with("a").run_sync("x").output == "a"


def test_inside_a_running_asyncio_loop() -> None:
    async def main() -> str | None:
        return agent_with(call("add", a=1, b=1), "2").run_sync("x").output

    assert asyncio.run(main()) == "2"
    assert anyio.run(main) == "2"


def test_inside_a_running_trio_loop() -> None:
    async def main() -> str | None:
        return agent_with(call("add", a=1, b=1), "2").run_sync("x").output

    assert trio.run(main) == "2"
    assert anyio.run(main, backend="trio") == "2"


def test_in_a_worker_thread() -> None:
    async def main() -> str | None:
        result = await anyio.to_thread.run_sync(lambda: agent_with("a").run_sync("x"))
        return result.output

    assert anyio.run(main) == "a"


def test_context_variables_reach_the_tools() -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    seen: list[str] = []

    @tool
    async def look() -> str:
        """Look."""
        seen.append(variable.get())
        return ""

    def run() -> None:
        Agent(ScriptedBackend([call("look"), "a"]), tools=[look]).run_sync("x")

    async def main() -> None:
        run()

    variable.set("set")
    run()
    asyncio.run(main())
    assert seen == ["set", "set"]


def test_errors_are_raised_as_they_are() -> None:
    async def main() -> None:
        Agent(ScriptedBackend([BackendUnavailable("gone")])).run_sync("x")

    with pytest.raises(BackendUnavailable, match="gone"):
        Agent(ScriptedBackend([BackendUnavailable("gone")])).run_sync("x")
    with pytest.raises(BackendUnavailable, match="gone"):
        asyncio.run(main())


def test_ctrl_c_cancels_the_tools_and_is_raised() -> None:
    import os
    import signal

    ended: list[str] = []

    @tool
    async def hang() -> str:
        """Hang."""
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("cancelled")
        return ""

    def run() -> None:
        Agent(ScriptedBackend([call("hang"), "a"]), tools=[hang]).run_sync("x")

    async def main() -> None:
        run()

    with pytest.raises(KeyboardInterrupt):
        run()
    loop = asyncio.new_event_loop()  # one that leaves Ctrl-C to Python, as Jupyter's does
    with contextlib.closing(loop), pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(main())
    assert ended == ["cancelled"] * 2


def test_in_a_callback_of_an_asyncio_loop() -> None:
    outputs: list[str | None] = []

    def callback() -> None:
        outputs.append(agent_with("a").run_sync("x").output)

    async def main() -> None:
        asyncio.get_running_loop().call_soon(callback)
        await asyncio.sleep(0.01)

    asyncio.run(main())
    assert outputs == ["a"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_from_a_tool(backend: str) -> None:
    @tool
    def in_thread() -> str:
        """Ask in a thread."""
        return agent_with("thread").run_sync("x").output or ""

    @tool
    async def in_loop() -> str:
        """Ask in the loop."""
        return agent_with("loop").run_sync("x").output or ""

    async def main() -> list[str]:
        script = [call("in_thread") + call("in_loop"), "done"]
        agent = Agent(ScriptedBackend(script), tools=[in_thread, in_loop], planning="off")
        return observations(await agent.run("x"))

    assert anyio.run(main, backend=backend) == ["thread", "loop"]
