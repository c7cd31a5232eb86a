"""`RunStream`: what a reader gets, and what comes of it when the reader fails."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from ling_agent import Agent, BackendUnavailable, CancelToken, ConfigurationError, Limits, tool
from ling_agent.events import RunFinished, TextDelta
from ling_agent.testing import Reply, ScriptedBackend

from .helpers import GUARD, call, stream

pytestmark = pytest.mark.anyio


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def agent_with(*script: str) -> Agent:
    return Agent(ScriptedBackend(script), tools=[add], planning="off")


async def read_and_raise(error: Exception) -> None:
    async with agent_with("a").stream("x") as run:
        async for _ in run:
            raise error


async def test_an_exception_of_the_reader_is_raised_as_it_is() -> None:
    error = LookupError("mine")
    with pytest.raises(LookupError) as caught:
        await read_and_raise(error)
    assert caught.value is error


async def test_also_an_exception_group() -> None:
    error = ExceptionGroup("mine", [LookupError("inner")])
    with pytest.raises(ExceptionGroup) as caught:
        await read_and_raise(error)
    assert caught.value is error


async def test_there_is_no_result_before_the_end() -> None:
    async with agent_with("a").stream("x") as run:
        with pytest.raises(ConfigurationError, match="has not ended"):
            _ = run.result
        async for _ in run:
            pass
        assert run.result.output == "a"


async def test_the_result_of_a_run_that_failed_is_its_error() -> None:
    agent = Agent(ScriptedBackend([BackendUnavailable("gone")]))
    async with agent.stream("x") as run:
        with pytest.raises(BackendUnavailable):
            [event async for event in run]
        with pytest.raises(BackendUnavailable):
            _ = run.result


async def test_reading_on_after_the_end_gives_nothing() -> None:
    async with agent_with("a").stream("x") as run:
        assert [event async for event in run]
        assert [event async for event in run] == []
    assert [event async for event in run] == []


async def test_an_empty_task_is_refused_on_entry() -> None:
    with pytest.raises(ConfigurationError, match="task is empty"):
        async with agent_with("a").stream(" "):
            pytest.fail("not reached")


@pytest.mark.parametrize("end", ["token", "timeout"])
async def test_a_run_that_ends_while_it_waits_for_its_reader_loses_no_event(end: str) -> None:
    token = CancelToken()
    agent = Agent(ScriptedBackend([Reply("abcdef", chunk_size=1)]), planning="off")
    limits = Limits(timeout=0.3 if end == "timeout" else None)
    with anyio.fail_after(GUARD):
        async with agent.stream("x", cancel=token, limits=limits) as run:
            events: list[object] = []
            async for event in run:
                events.append(event)
                if event == TextDelta("b"):
                    # By now the run holds out the next event.
                    await anyio.sleep(0.5 if end == "timeout" else 0.01)
                    token.cancel()
                    await anyio.sleep(0.01)
    assert isinstance(events[-1], RunFinished)
    assert str(run.result.status) == ("timeout" if end == "timeout" else "cancelled")
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert text == run.result.output == "abc"


async def test_the_run_is_never_more_than_one_event_ahead() -> None:
    read = 0
    ahead: list[int] = []
    agent = Agent(ScriptedBackend([Reply("abcdef", chunk_size=1)]), planning="off")
    async with agent.stream("x") as run:
        emit, emitted = run.emit, 1  # `RunStarted` came first

        async def counting(event: object) -> None:
            nonlocal emitted
            emitted += 1
            ahead.append(emitted - read)
            await emit(event)  # type: ignore[arg-type]

        run.emit = counting  # type: ignore[method-assign]
        async for _ in run:
            read += 1
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
    assert max(ahead) <= 2
    assert emitted == read


@tool
async def interrupt() -> str:
    """Interrupt, as Ctrl-C does on trio."""
    raise KeyboardInterrupt


async def test_ctrl_c_in_the_run_is_raised_to_the_reader() -> None:
    agent = Agent(ScriptedBackend([call("interrupt")]), tools=[interrupt], planning="off")
    with pytest.raises(BaseExceptionGroup) as caught:
        await stream(agent)
    assert caught.group_contains(KeyboardInterrupt)
