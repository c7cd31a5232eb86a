"""A model that makes the same call again and again."""

from __future__ import annotations

import pytest

from ling_agent import Agent, Limits, RunStatus, tool
from ling_agent.messages import ToolCall
from ling_agent.repeats import RepeatGuard, Repetition
from ling_agent.testing import ScriptedBackend

from .helpers import call, calls, observations


def made(name: str, **arguments: object) -> ToolCall:
    return ToolCall("id", name, dict(arguments))


def test_the_order_of_arguments_makes_no_difference() -> None:
    guard = RepeatGuard(3)
    assert guard.note(made("f", a=1, b=2), 1) is None
    guard.observed(made("f", a=1, b=2), "seen")
    assert guard.note(made("f", b=2, a=1), 2) == Repetition("seen", at_limit=False)
    assert guard.note(made("f", a=1, b=2), 3) == Repetition("seen", at_limit=True)


def test_other_arguments_are_another_call() -> None:
    guard = RepeatGuard(2)
    assert guard.note(made("f", a=1), 1) is None
    assert guard.note(made("f", a=2), 2) is None
    assert guard.note(made("g", a=1), 3) is None


def test_a_call_runs_again_after_something_new() -> None:
    guard = RepeatGuard(2)
    guard.note(made("poll"), 1)
    guard.note(made("start"), 2)
    assert guard.note(made("poll"), 3) is None


def test_two_calls_in_turn_are_noticed() -> None:
    guard = RepeatGuard(3)
    noted = [guard.note(made("f" if n % 2 else "g"), n) for n in range(12)]
    assert any(repetition is not None and repetition.at_limit for repetition in noted)


pytestmark = pytest.mark.anyio


class Counter:
    def __init__(self) -> None:
        self.ran = 0

        @tool
        async def count(n: int) -> str:
            """Count."""
            self.ran += 1
            return f"{n} things"

        self.tool = count

    def agent(self, *script: str, **limits: int) -> Agent:
        backend = ScriptedBackend(script)
        return Agent(backend, tools=[self.tool], planning="off", limits=Limits(**limits))


async def test_a_repetition_is_answered_with_the_earlier_observation() -> None:
    counter = Counter()
    same = call("count", n=1)
    result = await counter.agent(same, same, "1").run("x")
    assert (result.status, counter.ran) == (RunStatus.completed, 1)
    first, second = observations(result)
    assert first == "1 things"
    assert "already called count" in second
    assert "1 things" in second


async def test_also_when_that_observation_was_empty() -> None:
    @tool
    async def silent() -> str:
        """Say nothing."""
        return ""

    backend = ScriptedBackend([call("silent"), call("silent"), "1"])
    result = await Agent(backend, tools=[silent], planning="off").run("x")
    assert "nothing has changed" in observations(result)[1]
    assert backend.requests[2].tool_choice == "none", "as after any repetition"


async def test_the_repeat_limit_ends_the_run_as_repeating() -> None:
    counter = Counter()
    same = call("count", n=1)
    agent = counter.agent(same, same, same, "1", repeat_limit=3)
    result = await agent.run("x")
    assert (result.status, counter.ran, len(result.steps)) == (RunStatus.repeating, 1, 3)
    assert len(observations(result)) == 3
    assert (await agent.resume(result.run_id)).output == "1"


async def test_the_same_call_twice_in_one_message_runs_once_and_is_no_offence() -> None:
    counter = Counter()
    same = call("count", n=1)
    result = await counter.agent(calls(same, same, same, same), "1", repeat_limit=3).run("x")
    assert (result.status, counter.ran) == (RunStatus.completed, 1)
    assert observations(result)[0] == "1 things"
    assert all("same arguments" in text for text in observations(result)[1:])


async def test_a_model_that_repeats_itself_is_asked_for_words() -> None:
    counter = Counter()
    same = call("count", n=1)
    backend = ScriptedBackend([calls(same, same), same, "1"])
    result = await Agent(backend, tools=[counter.tool], planning="off").run("How many?")
    assert result.output == "1"
    assert [request.tool_choice for request in backend.requests] == ["auto", "auto", "none"]
    assert "How many?" in backend.requests[2].messages[-1].content


async def test_repetitions_do_not_use_up_the_tool_calls() -> None:
    counter = Counter()
    same = call("count", n=1)
    result = await counter.agent(calls(same, same, call("count", n=2)), "2", max_tool_calls=2).run(
        "x"
    )
    assert (result.status, counter.ran, result.usage.tool_calls) == (RunStatus.completed, 2, 2)
