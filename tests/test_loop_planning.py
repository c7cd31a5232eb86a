"""Planning modes: off, inline, explicit."""

from __future__ import annotations

import pytest

from ling_agent import Agent, ConfigurationError, Limits, RunStatus, ToolError, tool
from ling_agent.backends import NamedTool
from ling_agent.backends.base import ToolChoice
from ling_agent.events import PlanMade, PlanUpdated
from ling_agent.messages import UserMessage
from ling_agent.planning import CARRY_OUT, REVISE, Planning
from ling_agent.testing import ScriptedBackend

from .helpers import call, kinds, stream

pytestmark = pytest.mark.anyio

LOOK = call("look", what="it")
PLAN = "Plan:\n1. look\n2. answer"


@tool
async def look(what: str) -> str:
    """Look for something."""
    if what == "nothing":
        raise ToolError("there is nothing")
    return f"found {what}"


def agent_with(planning: Planning, *script: str) -> tuple[Agent, ScriptedBackend]:
    backend = ScriptedBackend(script)
    return Agent(backend, tools=[look], planning=planning), backend


async def test_off_asks_for_no_plan_and_keeps_none() -> None:
    agent, backend = agent_with("off", "Plan: none of your business.\nParis.")
    result = await agent.run("Capital?")
    assert backend.requests[0].messages[-1] == UserMessage("Capital?")
    assert result.plan is None
    assert "plan" not in kinds(result)


async def test_inline_asks_in_the_task_and_keeps_the_plan() -> None:
    agent, backend = agent_with("inline", "Plan: look.\n" + call("look", what="a"), "a")
    events, result = await stream(agent, "Find a.")
    task = backend.requests[0].messages[-1]
    assert isinstance(task, UserMessage)
    assert task.content.startswith("Find a.")
    assert "Plan:" in task.content
    assert result.plan is not None
    assert (result.plan.text, result.plan.steps[0].status) == ("look.", "done")
    assert result.trajectory[0].data["task"] == "Find a."
    made = [type(e) for e in events if isinstance(e, PlanMade | PlanUpdated)]
    assert made == [PlanMade, PlanUpdated]


async def test_a_plan_that_is_carried_out_changes_no_more() -> None:
    script = ["Plan: look.\n" + call("look", what="a"), call("look", what="b"), "both"]
    agent, _ = agent_with("inline", *script)
    events, result = await stream(agent)
    assert result.output == "both"
    assert [type(e) for e in events if isinstance(e, PlanMade | PlanUpdated)] == [
        PlanMade,
        PlanUpdated,
    ]


async def test_the_plan_is_shown_before_the_message_is_complete() -> None:
    agent, _ = agent_with("inline", "Plan: look.\n" + call("look", what="a"), "a")
    events, _ = await stream(agent)
    names = [type(event).__name__ for event in events]
    assert names.index("PlanMade") < names.index("CallStarted")


async def test_the_plan_is_not_part_of_the_answer() -> None:
    agent, _ = agent_with("inline", "Plan: answer directly.\n\nParis.")
    result = await agent.run("Capital?")
    assert result.output == "Paris."
    assert result.plan is not None
    assert result.plan.steps[0].status == "dropped"


async def test_inline_without_a_plan_is_no_error() -> None:
    agent, _ = agent_with("inline", "Paris.")
    result = await agent.run("Capital?")
    assert (result.output, result.plan) == ("Paris.", None)


async def test_an_agent_without_tools_is_not_asked_to_plan() -> None:
    backend = ScriptedBackend(["Paris."])
    await Agent(backend, planning="explicit").run("Capital?")
    assert backend.requests[0].messages == (UserMessage("Capital?"),)


async def test_explicit_makes_the_plan_before_the_first_call() -> None:
    agent, backend = agent_with("explicit", PLAN, call("look", what="a"), "found it")
    result = await agent.run("Find a.")
    assert result.output == "found it"
    assert result.plan is not None
    assert [(s.text, s.status) for s in result.plan.steps] == [
        ("look", "done"),
        ("answer", "dropped"),
    ]
    assert backend.requests[1].messages[-1] == UserMessage(CARRY_OUT)
    assert kinds(result)[:5] == ["task", "plan", "assistant", "usage", "note"]


async def test_explicit_takes_a_list_without_the_word_plan() -> None:
    agent, _ = agent_with("explicit", "1. look\n2. answer", call("look", what="a"), "a")
    result = await agent.run("Find a.")
    assert result.plan is not None
    assert [step.text for step in result.plan.steps] == ["look", "answer"]


async def test_a_model_that_acts_at_once_is_not_held_up() -> None:
    agent, _ = agent_with("explicit", call("look", what="a"), "a")
    result = await agent.run("Find a.")
    assert (result.output, result.plan) == ("a", None)


async def test_explicit_revises_the_plan_when_an_observation_contradicts_it() -> None:
    new = "Plan:\n1. look elsewhere\n2. answer"
    script = [PLAN, call("look", what="nothing"), new, call("look", what="b"), "b"]
    agent, backend = agent_with("explicit", *script)
    result = await agent.run("Find a.")
    assert result.plan is not None
    assert result.plan.revision == 1
    assert [step.text for step in result.plan.steps] == ["look elsewhere", "answer"]
    assert result.plan.steps[0].status == "done"
    assert backend.requests[2].messages[-1] == UserMessage(REVISE)
    backend.assert_exhausted()


async def test_revisions_are_bounded() -> None:
    script: list[str] = [PLAN]
    for n in range(3):
        script += [call("look", what="nothing"), f"Plan:\n1. try {n}", call("look", what=f"a{n}")]
    script += [call("look", what="nothing"), "It is not there."]
    agent, backend = agent_with("explicit", *script)
    result = await agent.run("Find a.")
    assert result.status is RunStatus.completed
    assert result.plan is not None
    assert result.plan.revision == 3
    backend.assert_exhausted()


async def test_a_bare_plan_is_followed_by_a_request_to_carry_it_out() -> None:
    agent, _ = agent_with("inline", "Plan: look.", call("look", what="a"), "a")
    result = await agent.run("Find a.")
    assert result.output == "a"
    assert result.plan is not None
    assert result.plan.text == "look."


async def test_planning_counts_as_a_step() -> None:
    agent, _ = agent_with("explicit", PLAN)
    result = await agent.run("x", limits=Limits(max_steps=1))
    assert (result.status, len(result.steps)) == (RunStatus.max_steps, 1)
    assert result.plan is not None


async def test_a_resumed_run_goes_on_with_its_plan() -> None:
    agent, _ = agent_with("explicit", PLAN, call("look", what="a"), "a")
    result = await agent.run("x", limits=Limits(max_steps=2))
    assert result.plan is not None
    resumed = await agent.resume(result.run_id)
    assert resumed.plan is not None
    assert [step.status for step in resumed.plan.steps] == ["done", "dropped"]
    assert resumed.output == "a"


async def test_the_next_task_of_a_session_has_its_own_plan() -> None:
    agent, _ = agent_with("inline", "Plan: one.\nA.", "B.")
    await agent.run("first", session="s")
    assert (await agent.run("second", session="s")).plan is None


def test_an_unknown_planning_mode_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'off', 'inline' or 'explicit'"):
        Agent(ScriptedBackend([]), planning="later")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("replies", "choices"),
    [
        (["Plan: use look.", LOOK, "Found."], ["auto", NamedTool("look"), "auto"]),
        # It may mean to answer: a call is not forced before the model has said it twice.
        (["Plan: answer directly.", "Here."], ["auto", "auto"]),
        (["Plan: search.", "Plan: search.", LOOK, "Found."], ["auto", "auto", "required", "auto"]),
    ],
)
async def test_a_message_that_is_only_a_plan_is_followed_by_what_it_says(
    replies: list[str], choices: list[ToolChoice]
) -> None:
    agent, backend = agent_with("inline", *replies)
    result = await agent.run("Where is it?")
    assert result.ok
    assert [request.tool_choice for request in backend.requests] == choices
