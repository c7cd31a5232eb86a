"""A limit ends a run as a result, before the cost is paid, and the run can be resumed."""

from __future__ import annotations

import anyio
import pytest

from ling_agent import Agent, CancelToken, Limits, RunStatus, Sampling, tool
from ling_agent.messages import UserMessage
from ling_agent.results import Usage
from ling_agent.testing import Reply, ScriptedBackend

from .helpers import StallingBackend, call, calls, kinds, observations

pytestmark = pytest.mark.anyio


def counting() -> tuple[list[int], object]:
    ran: list[int] = []

    @tool
    async def count(n: int) -> int:
        """Count."""
        ran.append(n)
        return n

    return ran, count


def agent_with(*script: str | Reply, **limits: object) -> tuple[Agent, list[int], ScriptedBackend]:
    ran, count = counting()
    backend = ScriptedBackend(script)
    agent = Agent(backend, tools=[count], planning="off", limits=Limits(**limits))  # type: ignore[arg-type]
    return agent, ran, backend


async def test_max_steps_keeps_the_work_and_resume_goes_on() -> None:
    agent, ran, backend = agent_with(call("count", n=1), call("count", n=2), "done", max_steps=2)
    result = await agent.run("x")
    assert result.status is RunStatus.max_steps
    assert (ran, result.output, result.usage.requests) == ([1, 2], None, 2)
    assert len(backend.requests) == 2
    resumed = await agent.resume(result.run_id)
    assert (resumed.status, resumed.output, ran) == (RunStatus.completed, "done", [1, 2])
    assert resumed.usage.requests == 1, "a resumed run counts from there on"


async def test_max_tool_calls_counts_across_steps_and_leaves_the_rest_for_resume() -> None:
    agent, ran, _ = agent_with(
        call("count", n=1), calls(call("count", n=2), call("count", n=3)), "done", max_tool_calls=2
    )
    result = await agent.run("x")
    assert (result.status, ran) == (RunStatus.max_tool_calls, [1, 2])
    assert result.usage.tool_calls == 2
    assert observations(result) == ["1", "2"]
    resumed = await agent.resume(result.run_id)
    assert (resumed.status, ran) == (RunStatus.completed, [1, 2, 3])
    assert observations(resumed) == ["1", "2", "3"]
    assert [o.content for o in resumed.steps[0].observations] == ["2", "3"]


async def test_calls_that_never_run_do_not_count_as_tool_calls() -> None:
    agent, ran, _ = agent_with(
        calls(call("count", n="many"), call("count", n=1)), call("count", n=2), "done",
        max_tool_calls=2,
    )  # fmt: skip
    result = await agent.run("x")
    assert (result.status, ran, result.usage.tool_calls) == (RunStatus.completed, [1, 2], 2)


async def test_no_tool_calls_at_all_still_allows_an_answer() -> None:
    agent, ran, _ = agent_with("hello", max_tool_calls=0)
    assert (await agent.run("x")).ok
    assert ran == []


async def test_max_total_tokens_is_checked_before_the_request() -> None:
    cost = Usage(prompt_tokens=60, completion_tokens=10, requests=1)
    agent, ran, backend = agent_with(Reply(call("count", n=1), usage=cost), max_total_tokens=140)
    result = await agent.run("x")
    assert (result.status, ran) == (RunStatus.max_tokens, [1])
    assert len(backend.requests) == 1, "70 spent, and the next prompt alone is over 70"


async def test_a_first_prompt_over_the_token_limit_is_never_sent() -> None:
    agent, _, backend = agent_with(max_total_tokens=5)
    result = await agent.run("a task of more than five tokens, that much is certain")
    assert result.status is RunStatus.max_tokens
    assert backend.requests == []


async def test_the_answer_is_cut_to_what_the_token_limit_leaves() -> None:
    agent, _, backend = agent_with("ok", max_total_tokens=600)
    await agent.run("x")
    assert 0 < backend.requests[0].sampling.max_tokens < 600


async def test_an_answer_cut_by_its_length_is_the_output_of_a_max_tokens_run() -> None:
    agent, _, backend = agent_with(Reply("It is fort", finish_reason="length"), "It is 42.")
    result = await agent.run("x")
    assert (result.status, result.output) == (RunStatus.max_tokens, "It is fort")
    resumed = await agent.resume(result.run_id)
    assert (resumed.status, resumed.output) == (RunStatus.completed, "It is 42.")
    note = backend.requests[1].messages[-1]
    assert isinstance(note, UserMessage)
    assert "cut off" in note.content


async def test_timeout_ends_a_model_that_does_not_answer() -> None:
    agent, _, _ = agent_with(Reply("never", delay=3600.0), timeout=0.01)
    result = await agent.run("x")
    assert (result.status, result.output) == (RunStatus.timeout, None)
    assert kinds(result) == ["task", "limit"]


async def test_timeout_keeps_the_text_that_was_there() -> None:
    agent = Agent(StallingBackend("It is fort"), planning="off", limits=Limits(timeout=0.05))
    result = await agent.run("x")
    assert (result.status, result.output) == (RunStatus.timeout, "It is fort")


async def test_timeout_during_a_tool_marks_it_as_interrupted() -> None:
    @tool
    async def hang() -> str:
        """Hang."""
        await anyio.sleep_forever()
        return ""

    agent = Agent(ScriptedBackend([call("hang"), "done"]), tools=[hang], planning="off")
    result = await agent.run("x", limits=Limits(timeout=0.05))
    assert result.status is RunStatus.timeout
    assert "interrupted" in observations(result)[0]
    assert result.steps[0].observations[0].is_error
    resumed = await agent.resume(result.run_id)
    assert (resumed.output, len(observations(resumed))) == ("done", 1)


async def test_the_cancel_token_and_the_deadline_together_give_one_status() -> None:
    token = CancelToken()
    token.cancel()
    agent, _, backend = agent_with("never", timeout=0)
    result = await agent.run("x", cancel=token)
    assert result.status in (RunStatus.cancelled, RunStatus.timeout)
    assert backend.requests == []


async def test_limits_of_a_run_replace_those_of_the_agent() -> None:
    agent, _, _ = agent_with(call("count", n=1), "done", max_steps=24)
    assert (await agent.run("x", limits=Limits(max_steps=1))).status is RunStatus.max_steps


async def test_sampling_is_always_explicit() -> None:
    backend = ScriptedBackend(["a"])
    await Agent(backend, sampling=Sampling(temperature=0.5, seed=7)).run("x")
    assert backend.requests[0].sampling == Sampling(temperature=0.5, seed=7)
