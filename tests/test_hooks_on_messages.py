"""Hooks on the messages of the model; exceptions in hooks; sessions and sub-agents."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from ling_agent import (
    Agent,
    CancelToken,
    HermesError,
    RunResult,
    RunStatus,
    tool,
)
from ling_agent.events import (
    Correction,
    ToolFinished,
    ToolStarted,
)
from ling_agent.hooks import (
    AfterModel,
    AfterTool,
    BeforeAnswer,
    BeforeModel,
    BeforeRun,
    BeforeTool,
    Moment,
    Veto,
)
from ling_agent.messages import UserMessage
from ling_agent.testing import Reply, ScriptedBackend

from .helpers import GUARD, call, calls, kinds, observations, stream
from .hooked import Shelf, hide, no_tea, notes, requests, upper
from .paced import PacedBackend, forever

pytestmark = pytest.mark.anyio

MOMENTS = (BeforeRun, BeforeModel, AfterModel, BeforeTool, AfterTool, BeforeAnswer)


# -- AfterModel -----------------------------------------------------------------------------------


async def test_a_vetoed_message_with_calls_answers_them_all_and_runs_none() -> None:
    shelf = Shelf()
    both = calls(call("look", item="jam"), call("look", item="tea"))
    agent = shelf.agent(both, call("look", item="jam"), "done", hooks=[no_tea])
    events, result = await stream(agent)
    assert result.output == "done"
    assert observations(result) == ["Error: no tea", "Error: no tea", "jam: on the shelf"]
    assert shelf.asked == ["jam"]
    assert len([e for e in events if isinstance(e, ToolStarted)]) == 1
    assert len([e for e in events if isinstance(e, ToolFinished)]) == 3
    assert result.usage.tool_calls == 1


async def test_a_vetoed_answer_is_corrected() -> None:
    agent = Shelf().agent("tea", "coffee", hooks=[no_tea])
    events, result = await stream(agent)
    assert result.output == "coffee"
    assert [e.message for e in events if isinstance(e, Correction)] == ["no tea"]
    assert requests(agent)[1].messages[-1] == UserMessage("no tea")


@pytest.mark.parametrize("text", ["tea", call("look", item="tea")])
async def test_vetoes_are_bounded_and_the_run_can_be_resumed(text: str) -> None:
    shelf = Shelf()
    agent = shelf.agent(*[text] * 3, "coffee", hooks=[no_tea])
    result = await agent.run("x")
    assert (result.status, result.output) == (RunStatus.failed, None)
    assert isinstance(result.error, HermesError)
    assert "no tea" in str(result.error)
    assert shelf.asked == []
    again = await agent.resume(result.run_id)
    assert again.output == "coffee"
    assert "no tea" in requests(agent)[-1].messages[-1].content


async def test_a_veto_of_an_unreadable_call_answers_it() -> None:
    def refuse_first(moment: AfterModel) -> Veto | None:
        return Veto("no") if moment.step == 1 else None

    agent = Shelf().agent("<tool_call>{broken</tool_call>", "done", hooks=[refuse_first])
    assert (await agent.run("x")).output == "done"


async def test_calls_wait_for_the_end_of_the_message_while_it_may_be_refused() -> None:
    began: list[str] = []
    written = False

    @tool
    async def work(n: int) -> str:
        """Work."""
        began.append("late" if written else "early")
        return "ok"

    def look(moment: AfterModel) -> None:
        nonlocal written
        written = True

    script = calls(call("work", n=1), call("work", n=2))
    for hooks in ([look], []):
        written = False
        backend = ScriptedBackend([Reply(script, chunk_size=5, delay=0.001), "done"])
        await Agent(backend, tools=[work], planning="off", hooks=hooks).run("x")
    assert began == ["late", "late", "early", "early"]


async def test_a_plan_is_a_message_too() -> None:
    def no_tea_plan(moment: AfterModel) -> Veto | None:
        return Veto("no tea") if "tea" in moment.message.content else None

    script = ["Plan:\n1. drink tea", "Plan:\n1. look", call("look", item="jam"), "done"]
    shelf = Shelf()
    agent = shelf.agent(*script, hooks=[no_tea_plan], planning="explicit")
    result = await agent.run("x")
    assert result.output == "done"
    assert result.plan is not None
    assert [step.text for step in result.plan.steps] == ["look"]
    assert "no tea" in notes(result)


async def test_a_message_is_not_taken_before_its_hook_has_spoken() -> None:
    """Ended in between, the run goes on by asking again: nothing that was not judged runs."""
    shelf, token = Shelf(), CancelToken()
    waiting = anyio.Event()

    async def slow(moment: AfterModel) -> None:
        if not waiting.is_set():
            waiting.set()
            await anyio.sleep_forever()

    agent = shelf.agent(call("look", item="tea"), call("look", item="jam"), "done", hooks=[slow])
    results: list[RunResult] = []

    async def run() -> None:
        results.append(await agent.run("x", cancel=token))

    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await waiting.wait()
            token.cancel()
    assert results[0].status is RunStatus.cancelled
    again = await agent.resume(results[0].run_id)
    assert again.output == "done"
    assert shelf.asked == ["jam"]


@pytest.mark.parametrize("renders", [True, False])
async def test_calls_of_a_stopped_message_are_not_run_by_resume(renders: bool) -> None:
    """Nobody has judged it, so `resume` asks again in place of running what it calls."""
    shelf, token = Shelf(), CancelToken()
    tea = ["I look: ", call("look", item="tea"), token.stop, " and more", forever]
    backend = PacedBackend(tea, [call("look", item="jam")], ["done"], renders_prompts=renders)
    agent = Agent(backend, tools=shelf.tools, hooks=[no_tea], planning="off")
    with anyio.fail_after(GUARD):
        stopped = await agent.run("x", cancel=token)
        assert (stopped.status, stopped.output) == (RunStatus.stopped, "I look:  and more")
        resumed = await agent.resume(stopped.run_id)
    assert resumed.output == "done"
    assert shelf.asked == ["jam"]
    first, second, _ = backend.prompts()
    assert "tea" not in second.removeprefix(first)


# -- exceptions -----------------------------------------------------------------------------------


class OopsError(Exception):
    pass


def failing(kind: type[Moment], *, step: int) -> Callable[[Any], Any]:
    def hook(moment: Any) -> None:
        if moment.step == step:
            raise OopsError(kind.__name__)

    hook.__annotations__["moment"] = kind
    return hook


@pytest.mark.parametrize("kind", MOMENTS, ids=lambda kind: kind.__name__)
async def test_an_exception_is_raised_as_it_is(kind: type[Moment]) -> None:
    step = 0 if kind is BeforeRun else 1
    script = "done" if kind is BeforeAnswer else call("look", item="tea")
    agent = Shelf().agent(script, hooks=[failing(kind, step=step)])
    with pytest.raises(OopsError, match=kind.__name__):
        await agent.run("x")
    agent = Shelf().agent(script, hooks=[failing(kind, step=step)])
    with pytest.raises(OopsError, match=kind.__name__):
        await stream(agent)
    agent = Shelf().agent(script, hooks=[failing(kind, step=step)])
    with pytest.raises(OopsError, match=kind.__name__):
        agent.run_sync("x")


@pytest.mark.parametrize("kind", MOMENTS[1:], ids=lambda kind: kind.__name__)
async def test_what_was_done_is_kept_and_can_be_gone_on_with(kind: type[Moment]) -> None:
    shelf = Shelf()
    script = [call("look", item="tea")]
    script += ["done"] if kind is BeforeAnswer else [call("look", item="jam")]
    script += ["done", "done", "done"]
    agent = shelf.agent(*script, hooks=[failing(kind, step=2)])
    with pytest.raises(OopsError):
        await agent.run("x", session="s")
    kept = agent.memory.store.load("s")
    assert [entry.kind for entry in kept if entry.kind == "observation"]
    again = await agent.with_options(hooks=[]).resume("s")
    assert again.output == "done"
    assert shelf.asked.count("tea") == 1
    assert shelf.asked.count("jam") <= 1


async def test_a_call_that_ran_is_not_made_again_when_the_hook_behind_it_fails() -> None:
    shelf = Shelf()
    agent = shelf.agent(call("look", item="tea"), "done", hooks=[failing(AfterTool, step=1)])
    with pytest.raises(OopsError):
        await agent.run("x", session="s")
    result = await agent.with_options(hooks=[]).resume("s")
    assert shelf.asked == ["tea"]
    assert "interrupted" in observations(result)[0]


# -- sessions, sub-agents -------------------------------------------------------------------------


async def test_steps_count_on_over_the_tasks_of_a_session() -> None:
    seen: list[tuple[str, int]] = []

    def look(moment: BeforeRun | BeforeModel) -> None:
        seen.append((moment.run_id, moment.step))

    agent = Shelf().agent("one", "two", hooks=[look])
    await agent.run("x", session="s")
    await agent.run("y", session="s")
    assert seen == [("s", 0), ("s", 1), ("s", 0), ("s", 2)]


async def test_a_sub_agent_has_its_own_hooks() -> None:
    seen: list[tuple[str, str]] = []

    def inside(moment: Moment) -> None:
        seen.append(("inner", type(moment).__name__))

    def outside(moment: Moment) -> None:
        seen.append(("outer", type(moment).__name__))

    inner = Agent(ScriptedBackend(["inner answer"]), planning="off", hooks=[inside], name="helper")
    agent = Agent(
        ScriptedBackend([call("helper", task="help"), "done"]),
        tools=[inner.as_tool()],
        planning="off",
        hooks=[outside],
    )
    result = await agent.run("x")
    assert observations(result) == ["inner answer"]
    names = [name for who, name in seen if who == "inner"]
    assert names == ["BeforeRun", "BeforeModel", "AfterModel", "BeforeAnswer"]
    outer = [name for who, name in seen if who == "outer"]
    assert outer.count("BeforeTool") == outer.count("AfterTool") == 1


async def test_a_sub_agents_veto_is_told_to_the_model_that_asked() -> None:
    def refuse(moment: BeforeRun) -> Veto:
        return Veto("not my job")

    inner = Agent(ScriptedBackend([]), hooks=[refuse], name="helper")
    agent = Agent(
        ScriptedBackend([call("helper", task="help"), "done"]),
        tools=[inner.as_tool()],
        planning="off",
    )
    result = await agent.run("x")
    assert result.output == "done"
    assert "not my job" in observations(result)[0]


async def test_a_sub_agents_answer_passes_its_hooks_also_when_it_is_read_from_the_log() -> None:
    def polite(moment: BeforeAnswer) -> BeforeAnswer:
        return dataclasses.replace(moment, output=f"{moment.output}, please")

    inner = Agent(ScriptedBackend(["tea"]), planning="off", hooks=[polite], name="helper")

    class FailsOnceError(Exception):
        pass

    def fail(moment: AfterTool) -> None:
        raise FailsOnceError

    agent = Agent(
        ScriptedBackend([call("helper", task="help"), "done"]),
        tools=[inner.as_tool()],
        planning="off",
        hooks=[fail],
    )
    with pytest.raises(FailsOnceError):
        await agent.run("x", session="s")
    store = agent.memory.store
    trajectory = store.load("s")
    assert "s/call_1_0" in store
    # As if the process had died before the observation was written.
    kept = [entry for entry in trajectory if entry.kind != "observation"]
    store.delete("s")
    store.append("s", kept[: _until_call(kept)])
    result = await agent.with_options(hooks=[]).resume("s")
    assert observations(result) == ["tea, please"]


def _until_call(entries: list[Any]) -> int:
    return next(n for n, e in enumerate(entries) if e.kind == "call") + 1


async def test_streamed_and_unstreamed_give_the_same() -> None:
    def remind(moment: BeforeModel) -> BeforeModel:
        return dataclasses.replace(moment, note="note")

    hooks = [remind, upper, hide, no_tea]
    script = [call("look", item="jam"), "tea", "done"]
    _, streamed = await stream(Shelf().agent(*script, hooks=hooks))
    plain = await Shelf().agent(*script, hooks=hooks).run("task")
    assert kinds(streamed) == kinds(plain)
    assert streamed.trajectory.messages() == plain.trajectory.messages()
    assert streamed.output == plain.output == "done"
