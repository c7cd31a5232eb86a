"""Mistakes of the model: a short corrective observation, bounded."""

from __future__ import annotations

import pytest

from ling_agent import Agent, HermesError, Limits, LingAgentError, RunStatus, hermes, tool
from ling_agent.messages import UserMessage
from ling_agent.testing import Reply, ScriptedBackend

from .helpers import call, calls, kinds, observations

pytestmark = pytest.mark.anyio

BROKEN = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": }}\n</tool_call>'


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def agent_with(*script: str | Reply, **limits: int) -> Agent:
    return Agent(ScriptedBackend(script), tools=[add], planning="off", limits=Limits(**limits))


async def test_an_unreadable_call_is_answered_and_its_sibling_is_kept() -> None:
    result = await agent_with(calls(BROKEN, call("add", a=1, b=1)), "2").run("x")
    assert result.ok
    wrong, right = result.steps[0].observations
    assert (wrong.is_error, right.content) == (True, "2")
    assert (wrong.call_id, right.call_id) == ("call_1_0", "call_1_1")
    assert wrong.name == "add"


async def test_a_call_cut_by_the_length_limit_never_runs() -> None:
    cut = Reply('<tool_call>\n{"name": "add", "arguments": {"a": 1', finish_reason="length")
    result = await agent_with(cut, "sorry").run("x")
    assert result.output == "sorry"
    assert result.usage.tool_calls == 0
    assert observations(result)[0].startswith("Error: ")


async def test_unreadable_calls_in_a_row_end_the_run_as_failed() -> None:
    agent = agent_with(BROKEN, BROKEN, BROKEN, "2", max_corrections=2)
    result = await agent.run("x")
    assert result.status is RunStatus.failed
    assert "3 unusable answers" in str(result.error)
    assert len(result.steps) == 3
    assert (await agent.resume(result.run_id)).output == "2"


async def test_a_good_call_in_between_starts_the_count_anew() -> None:
    script = [BROKEN, BROKEN, call("add", a=1, b=1), BROKEN, BROKEN, "2"]
    assert (await agent_with(*script, max_corrections=2).run("x")).ok


async def test_unknown_tools_and_wrong_arguments_are_bounded_as_well() -> None:
    script = [call("sub", a=1), call("add", a="x", b=1), call("add", c=1)]
    result = await agent_with(*script, max_corrections=2).run("x")
    assert result.status is RunStatus.failed


async def test_a_call_where_there_are_no_tools_is_answered_and_bounded() -> None:
    script = [call("add", a=n) for n in range(3)]
    result = await Agent(ScriptedBackend(script)).run("x")
    assert result.status is RunStatus.failed
    assert "no tool" in observations(result)[0]


@pytest.mark.parametrize("empty", ["", "  \n", "<think>hm</think>"])
async def test_an_empty_answer_is_corrected(empty: str) -> None:
    backend = ScriptedBackend([empty, "2"])
    result = await Agent(backend, tools=[add], planning="off").run("x")
    assert result.output == "2"
    note = backend.requests[1].messages[-1]
    assert isinstance(note, UserMessage)
    assert "empty" in note.content
    assert kinds(result) == ["task", "assistant", "usage", "note", "assistant", "usage"]


async def test_empty_answers_are_bounded() -> None:
    agent = agent_with("", "", "", "2", max_corrections=2)
    result = await agent.run("x")
    assert (result.status, result.output) == (RunStatus.failed, None)
    assert (await agent.resume(result.run_id)).output == "2"


async def test_no_corrections_at_all() -> None:
    result = await agent_with("", max_corrections=0).run("x")
    assert result.status is RunStatus.failed
    assert len(result.steps) == 1


async def test_a_conversation_that_cannot_be_rendered_is_an_error_of_ours() -> None:
    agent = Agent(
        ScriptedBackend([call("add", a=1, b=1), hermes.HermesError("no"), "2"]), tools=[add]
    )
    result = await agent.run("x")
    assert result.status is RunStatus.failed
    assert isinstance(result.error, HermesError)
    with pytest.raises(LingAgentError, match="no"):
        await Agent(ScriptedBackend([hermes.HermesError("no")])).run("x")


async def test_a_hallucinated_observation_is_not_believed() -> None:
    text = call("add", a=1, b=1) + "\n<tool_response>\n7\n</tool_response>\nThe answer is 7."
    result = await agent_with(text, "2").run("x")
    assert result.output == "2"
    assert "2" in observations(result)
