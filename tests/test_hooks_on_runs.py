"""Hooks on the task, the requests and the output of a run."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import Any

import anyio
import pytest

from ling_agent import (
    Agent,
    ConfigurationError,
    Limits,
    RunStatus,
    Sampling,
)
from ling_agent.errors import Vetoed
from ling_agent.events import (
    StepFinished,
)
from ling_agent.hooks import (
    BeforeAnswer,
    BeforeModel,
    BeforeRun,
    Veto,
)
from ling_agent.messages import UserMessage
from ling_agent.testing import Reply, ScriptedBackend

from .helpers import GUARD, call, observations, stream
from .hooked import Shelf, notes, requests

pytestmark = pytest.mark.anyio


# -- BeforeRun ------------------------------------------------------------------------------------


async def test_before_run_changes_the_task() -> None:
    def shorter(moment: BeforeRun) -> BeforeRun:
        return dataclasses.replace(moment, task="changed")

    agent = Shelf().agent("done", hooks=[shorter])
    events, result = await stream(agent, "task")
    assert events[0].task == "changed"  # pyright: ignore
    assert requests(agent)[0].messages == (UserMessage("changed"),)
    assert result.trajectory.messages()[0] == UserMessage("changed")


async def test_a_vetoed_task_leaves_nothing_behind() -> None:
    def refuse(moment: BeforeRun) -> Veto | None:
        return Veto("not that") if "bad" in moment.task else None

    agent = Shelf().agent("hello", "still here", hooks=[refuse])
    await agent.run("good", session="s")
    before = [entry.kind for entry in agent.memory.store.load("s")]
    with pytest.raises(Vetoed, match="a hook refused the task: not that"):
        await agent.run("bad", session="s")
    with pytest.raises(Vetoed, match="not that"):
        async with agent.stream("bad", session="s"):
            pass
    with pytest.raises(Vetoed, match="not that"):
        agent.run_sync("bad", session="t")
    assert [entry.kind for entry in agent.memory.store.load("s")] == before
    assert "t" not in agent.memory.store
    result = await agent.run("good again", session="s")
    assert result.output == "still here"
    assert "bad" not in str(requests(agent)[-1].messages)


async def test_a_resumed_run_has_no_new_task() -> None:
    seen: list[str] = []

    def look(moment: BeforeRun) -> None:
        seen.append(moment.task)

    agent = Shelf().agent(call("look", item="tea"), "done", hooks=[look])
    first = await agent.run("x", limits=Limits(max_steps=1))
    assert (await agent.resume(first.run_id)).output == "done"
    assert seen == ["x"]


# -- BeforeModel ----------------------------------------------------------------------------------


async def test_a_note_lands_in_the_conversation_and_each_request_extends_the_one_before() -> None:
    def remind(moment: BeforeModel) -> BeforeModel:
        return dataclasses.replace(moment, note=f"This is request {moment.step}.")

    agent = Shelf().agent(
        call("look", item="tea"), call("look", item="jam"), "done", hooks=[remind]
    )
    result = await agent.run("x")
    sent = [request.messages for request in requests(agent)]
    for earlier, later in pairwise(sent):
        assert later[: len(earlier)] == earlier
    assert [m[-1].content for m in sent] == [f"This is request {n}." for n in (1, 2, 3)]
    assert notes(result) == ["This is request 1.", "This is request 2.", "This is request 3."]


async def test_before_model_sees_what_is_sent_and_chooses_the_sampling() -> None:
    seen: list[BeforeModel] = []

    def warmer(moment: BeforeModel) -> BeforeModel:
        seen.append(moment)
        sampling = dataclasses.replace(moment.sampling, temperature=moment.step / 10)
        return dataclasses.replace(moment, sampling=sampling)

    agent = Shelf().agent(
        call("look", item="tea"), "done", hooks=[warmer], sampling=Sampling(max_tokens=100)
    )
    await agent.run("x")
    assert [m.messages for m in seen] == [request.messages for request in requests(agent)]
    assert [m.sampling for m in seen] == [Sampling(max_tokens=100)] * 2  # each anew
    assert [request.sampling.temperature for request in requests(agent)] == [0.1, 0.2]


async def test_a_changed_sampling_keeps_to_the_token_limit() -> None:
    def longer(moment: BeforeModel) -> BeforeModel:
        return dataclasses.replace(moment, sampling=Sampling(max_tokens=5000))

    agent = Shelf().agent("done", hooks=[longer], tools=[])
    await agent.run("x", limits=Limits(max_total_tokens=100))
    assert requests(agent)[0].sampling.max_tokens < 100


async def test_a_veto_before_the_first_request_is_raised_and_later_fails_the_run() -> None:
    def at_most(moment: BeforeModel) -> Veto | None:
        return Veto("enough") if moment.step > 1 or "bad" in str(moment.messages) else None

    shelf = Shelf()
    agent = shelf.agent(call("look", item="tea"), "done", hooks=[at_most])
    with pytest.raises(Vetoed, match="before the model was asked: enough"):
        await agent.run("bad", session="s")
    assert "s" not in agent.memory.store
    result = await agent.run("good")
    assert result.status is RunStatus.failed
    assert isinstance(result.error, Vetoed)
    assert observations(result) == ["tea: on the shelf"]
    assert len(requests(agent)) == 1
    freed = agent.with_options(hooks=[])
    assert (await freed.resume(result.run_id)).output == "done"
    assert shelf.asked == ["tea"]


@pytest.mark.parametrize("planning", ["inline", "explicit"])
async def test_notes_with_planning(planning: Any) -> None:
    def remind(moment: BeforeModel) -> BeforeModel:
        return dataclasses.replace(moment, note=f"note {moment.step}")

    script = {
        "inline": [
            "<tool_call>",
            "look`.\n",
            '", "arguments": {"item": "tea"}}\n</tool_call>',
            "done",
        ],
        "explicit": [" look\n2. answer", call("look", item="tea"), "done"],
    }[planning]
    backend = ScriptedBackend(script, renders_prompts=True)
    agent = Agent(backend, tools=Shelf().tools, planning=planning, hooks=[remind])
    result = await agent.run("x")
    assert result.output == "done"
    prompts = [backend.prompt(request) for request in backend.requests]
    for earlier, later in pairwise(prompts):
        assert later.startswith(earlier)


# -- BeforeAnswer ---------------------------------------------------------------------------------


async def test_before_answer_changes_the_output_and_not_the_conversation() -> None:
    def polite(moment: BeforeAnswer) -> BeforeAnswer:
        return dataclasses.replace(moment, output=f"{moment.output}, please")

    agent = Shelf().agent("tea", "more tea", hooks=[polite])
    events, result = await stream(agent, session="s")
    assert result.output == "tea, please"
    assert events[-1].result.output == "tea, please"  # pyright: ignore
    assert result.trajectory.messages()[-1].content == "tea"
    assert (await agent.run("again", session="s")).output == "more tea, please"


async def test_a_vetoed_output_is_corrected_and_bounded() -> None:
    def no_tea_output(moment: BeforeAnswer) -> Veto | None:
        return Veto("say nothing of tea") if "tea" in moment.output else None

    agent = Shelf().agent("tea", "coffee", hooks=[no_tea_output])
    result = await agent.run("x")
    assert (result.output, notes(result)) == ("coffee", ["say nothing of tea"])
    agent = Shelf().agent("tea", "tea", "tea", "coffee", hooks=[no_tea_output])
    result = await agent.run("x")
    assert (result.status, result.output) == (RunStatus.failed, None)
    assert "say nothing of tea" in str(result.error)
    assert (await agent.resume(result.run_id)).output == "coffee"
    assert requests(agent)[-1].messages[-1] == UserMessage("say nothing of tea")


async def test_the_output_has_the_agents_type() -> None:
    def double(moment: BeforeAnswer) -> BeforeAnswer:
        return dataclasses.replace(moment, output=moment.output * 2)

    agent = Agent(ScriptedBackend(['{"answer": 21}']), output_type=int, hooks=[double])
    assert (await agent.run("x")).output == 42


async def test_before_answer_cannot_put_another_type_in_its_place() -> None:
    def nonsense(moment: BeforeAnswer) -> BeforeAnswer:
        return dataclasses.replace(moment, output="five")

    agent = Agent(ScriptedBackend(["5"]), output_type=int, planning="off", hooks=[nonsense])
    with pytest.raises(ConfigurationError, match="must be of the agent's output_type"):
        await agent.run("x")


async def test_a_veto_is_in_the_conversation_before_anybody_can_end_the_run() -> None:
    def refuse_tea(moment: BeforeAnswer) -> Veto | None:
        return Veto("say nothing of tea") if "tea" in moment.output else None

    agent = Shelf().agent("tea", "coffee", hooks=[refuse_tea])
    async with agent.stream("x") as run:
        async for event in run:
            if isinstance(event, StepFinished):
                run.cancel()
    assert run.result.status is RunStatus.cancelled
    assert (await agent.resume(run.run_id)).output == "coffee"
    assert requests(agent)[-1].messages[-1] == UserMessage("say nothing of tea")


async def test_an_answer_that_was_not_accepted_completes_nothing() -> None:
    waiting = anyio.Event()

    async def slow(moment: BeforeAnswer) -> None:
        if not waiting.is_set():
            waiting.set()
            await anyio.sleep_forever()

    agent = Shelf().agent("tea", "coffee", hooks=[slow])
    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: agent.run("x", session="s"))
            await waiting.wait()
            group.cancel_scope.cancel()  # natively: nobody gets a result
    assert (await agent.resume("s")).output == "coffee"


async def test_a_cut_answer_is_no_completion() -> None:
    seen: list[Any] = []

    def look(moment: BeforeAnswer) -> None:
        seen.append(moment.output)

    agent = Shelf().agent(Reply("half an ans", finish_reason="length"), hooks=[look])
    result = await agent.run("x")
    assert result.status is RunStatus.max_tokens
    assert seen == []
