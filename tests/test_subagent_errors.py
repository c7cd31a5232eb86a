"""What a sub-agent's run raises: for the model, or for the program."""

from __future__ import annotations

import pytest

from ling_agent import Agent, BackendUnavailable, RunStatus
from ling_agent.approvals import ApprovalRequest
from ling_agent.hooks import BeforeModel, BeforeTool, Hook
from ling_agent.testing import ScriptedBackend

from .helpers import call, observations
from .test_subagents import Shop

pytestmark = pytest.mark.anyio


class BugError(Exception):
    """Of the program."""


def boss(*helpers: str | Exception, hooks: tuple[Hook, ...] = (), levels: int = 1) -> Agent[str]:
    agent = Agent(
        ScriptedBackend(helpers), tools=Shop().tools, planning="off", name="helper", hooks=hooks
    )
    for level in range(levels):
        script = [call(agent.name, task="x"), "done"]
        agent = Agent(
            ScriptedBackend(script), tools=[agent.as_tool()], planning="off", name=f"boss{level}"
        )
    return agent


@pytest.mark.parametrize("levels", [1, 2])
async def test_an_exception_in_a_hook_is_raised_through_all_runs(levels: int) -> None:
    def look(moment: BeforeTool) -> None:
        raise BugError

    agent = boss(call("look", item="a"), "fine", hooks=(look,), levels=levels)
    with pytest.raises(BugError):
        await agent.run("x", session="s")
    # What was done until then is kept: the run can be gone on with when the hook is mended.
    assert "s" in agent.memory.store


async def test_so_is_one_of_the_callers_approve_function() -> None:
    def ask(request: ApprovalRequest) -> bool:
        raise BugError

    with pytest.raises(BugError):
        await boss(call("buy", item="a"), "fine").with_options(approve=ask).run("x")


async def test_what_a_run_may_end_with_is_told_to_the_model() -> None:
    result = await boss(BackendUnavailable("the model is gone")).run("x")
    assert result.status is RunStatus.completed
    assert observations(result) == ["Error: BackendUnavailable: the model is gone"]


async def test_a_bug_is_not_tried_again() -> None:
    seen: list[int] = []

    def look(moment: BeforeModel) -> None:
        seen.append(moment.step)
        raise BugError

    with pytest.raises(BugError):
        await boss("fine", hooks=(look,)).run("x")
    assert seen == [1]
