"""Plan, call, observe, answer: what a run does when nothing limits it."""

from __future__ import annotations

import pytest

from ling_agent import Agent, BackendUnavailable, ConfigurationError, RunContext, RunStatus, tool
from ling_agent.messages import AssistantMessage, SystemMessage, ToolMessage, UserMessage
from ling_agent.results import Usage
from ling_agent.testing import Reply, ScriptedBackend

from .helpers import call, calls, kinds, observations

pytestmark = pytest.mark.anyio


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
async def fail(reason: str) -> str:
    """Fail."""
    raise ValueError(reason)


async def test_an_answer_without_calls_completes_the_run() -> None:
    backend = ScriptedBackend(["Paris."])
    result = await Agent(backend, tools=[add], planning="off").run("Capital of France?")
    assert (result.output, result.status, result.ok) == ("Paris.", RunStatus.completed, True)
    assert kinds(result) == ["task", "assistant", "usage"]
    assert result.error is None


async def test_a_call_is_observed_and_then_answered() -> None:
    backend = ScriptedBackend([call("add", a=19, b=23), "It is 42."])
    result = await Agent(backend, tools=[add], planning="off").run("19 + 23?")
    assert result.output == "It is 42."
    assert [step.index for step in result.steps] == [1, 2]
    assert [o.content for o in result.steps[0].observations] == ["42"]
    assert result.steps[1].observations == ()
    backend.assert_exhausted()


async def test_the_model_is_shown_the_whole_conversation_each_time() -> None:
    backend = ScriptedBackend([call("add", a=1, b=2), "3"])
    agent = Agent(backend, tools=[add], planning="off", instructions="Be brief.")
    await agent.run("1 + 2?")
    first, second = backend.requests
    assert first.messages == (SystemMessage("Be brief."), UserMessage("1 + 2?"))
    assert second.messages[: len(first.messages)] == first.messages
    answer, observation = second.messages[len(first.messages) :]
    assert isinstance(answer, AssistantMessage)
    assert observation == ToolMessage(answer.calls[0].id, "add", "3")
    assert first.tools == second.tools
    assert [entry["function"]["name"] for entry in first.tools] == ["add"]


async def test_call_ids_are_unique_in_the_run() -> None:
    same = call("add", a=1, b=1)
    script = [calls(same, call("add", a=2, b=2)), calls(call("add", a=3, b=3)), "done"]
    result = await Agent(ScriptedBackend(script), tools=[add], planning="off").run("x")
    ids = [made.id for step in result.steps for made in step.message.calls]
    assert ids == ["call_1_0", "call_1_1", "call_2_0"]


async def test_text_beside_a_call_is_not_the_answer() -> None:
    script = ["Let me see. " + call("add", a=1, b=1), "2"]
    result = await Agent(ScriptedBackend(script), tools=[add], planning="off").run("x")
    assert result.output == "2"
    assert result.steps[0].message.content == "Let me see."


async def test_reasoning_is_kept_apart_from_the_answer() -> None:
    script = ["<think>hm</think>Yes."]
    result = await Agent(ScriptedBackend(script), planning="off").run("x")
    assert result.output == "Yes."
    assert result.steps[0].message.reasoning == "hm"


async def test_a_tool_that_raises_is_an_observation_and_the_run_goes_on() -> None:
    script = [calls(call("fail", reason="stock is empty"), call("add", a=1, b=1)), "Sorry."]
    result = await Agent(ScriptedBackend(script), tools=[add, fail], planning="off").run("x")
    assert result.ok
    first, second = result.steps[0].observations
    assert first.is_error
    assert "ValueError" in first.content
    assert "stock is empty" in first.content
    assert "Traceback" not in first.content
    assert second.content == "2"


async def test_an_unknown_tool_is_answered_with_the_names() -> None:
    script = [call("ad", a=1, b=1), "Sorry."]
    result = await Agent(ScriptedBackend(script), tools=[add, fail], planning="off").run("x")
    (text,) = observations(result)
    assert text.startswith("Error: ")
    assert "add" in text
    assert "fail" in text


async def test_arguments_that_do_not_fit_are_answered_with_what_is_wrong() -> None:
    script = [call("add", a="many", b=1), call("add", a="3", b=1), "4"]
    result = await Agent(ScriptedBackend(script), tools=[add], planning="off").run("x")
    wrong, right = observations(result)
    assert "a" in wrong
    assert "many" in wrong
    assert right == "4", '"3" is an integer without loss'
    assert result.usage.tool_calls == 1, "only the second one ran"


async def test_usage_is_the_sum_of_the_requests() -> None:
    costs = [
        Usage(prompt_tokens=10, completion_tokens=5, cached_tokens=None, requests=1),
        Usage(prompt_tokens=20, completion_tokens=7, cached_tokens=10, requests=1),
    ]
    script = [Reply(call("add", a=1, b=1), usage=costs[0]), Reply("2", usage=costs[1])]
    result = await Agent(ScriptedBackend(script), tools=[add], planning="off").run("x")
    usage = result.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (30, 12, 10)
    assert (usage.requests, usage.tool_calls) == (2, 1)
    assert usage.seconds > 0
    assert [step.usage for step in result.steps] == costs
    assert result.trajectory.tokens == 27, "the newest prompt with its answer"


async def test_tools_get_deps_and_the_place_in_the_run() -> None:
    seen: list[tuple[str, str, int, int]] = []

    @tool
    async def look(ctx: RunContext[str]) -> str:
        """Look."""
        seen.append((ctx.deps, ctx.run_id, ctx.step, ctx.usage.requests))
        return "ok"

    script = [call("look"), "done"]
    agent = Agent(ScriptedBackend(script), tools=[look], planning="off")
    result = await agent.run("x", deps="mine")
    assert seen == [("mine", result.run_id, 1, 1)]


async def test_an_agent_without_tools_takes_json_for_an_answer() -> None:
    text = '{"name": "Ada", "arguments": {}}'
    result = await Agent(ScriptedBackend([text])).run("Write JSON.")
    assert result.output == text


async def test_a_backend_that_cannot_be_asked_raises_and_leaves_the_session_alone() -> None:
    script = ["Hello.", BackendUnavailable("gone"), "Still here."]
    agent = Agent(ScriptedBackend(script), planning="off")
    await agent.run("one", session="s")
    with pytest.raises(BackendUnavailable, match="gone"):
        await agent.run("two", session="s")
    result = await agent.run("three", session="s")
    texts = [m.content for m in result.trajectory.messages()]
    assert texts == ["one", "Hello.", "three", "Still here."]


async def test_a_backend_error_after_the_first_answer_is_a_result() -> None:
    script = [call("add", a=1, b=1), BackendUnavailable("gone"), "2"]
    agent = Agent(ScriptedBackend(script), tools=[add], planning="off")
    result = await agent.run("x")
    assert result.status is RunStatus.failed
    assert isinstance(result.error, BackendUnavailable)
    assert observations(result) == ["2"]
    again = await agent.resume(result.run_id)
    assert (again.output, again.status) == ("2", RunStatus.completed)


async def test_a_bug_in_the_backend_is_not_hidden() -> None:
    script = [call("add", a=1, b=1), RuntimeError("bug")]
    with pytest.raises(RuntimeError, match="bug"):
        await Agent(ScriptedBackend(script), tools=[add], planning="off").run("x")


@pytest.mark.parametrize("task", ["", "  \n"])
async def test_an_empty_task_is_refused_before_anything_is_asked(task: str) -> None:
    backend = ScriptedBackend([])
    with pytest.raises(ConfigurationError, match="task is empty"):
        await Agent(backend).run(task)
    assert backend.requests == []
