"""Long runs in small windows: what fits, what leaves, and why a prompt has another beginning."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import pytest

from ling_agent import Agent, Limits, Memory, RunResult, RunStatus, tool
from ling_agent.backends import ModelRequest
from ling_agent.errors import BackendUnavailable
from ling_agent.events import Compacted
from ling_agent.memory.window import Window
from ling_agent.messages import AssistantMessage, ToolMessage
from ling_agent.planning import Planning
from ling_agent.testing import ScriptedBackend

from .helpers import call, calls, stream
from .long_runs import ANSWER, RECORD, SAMPLING, Model, check_prompts, is_digest, look

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("summarize", [True, False])
@pytest.mark.parametrize("most_calls", [1, 4])
async def test_a_long_run_stays_within_its_window(summarize: bool, most_calls: int) -> None:
    model = Model(300, most_calls=most_calls, seed=most_calls)
    result = await model.agent(Memory(summarize=summarize)).run("Count.")
    assert (result.status, result.output) == (RunStatus.completed, "done")
    assert len(result.steps) == 301
    assert max(model.sizes) <= 1500 - ANSWER
    others = check_prompts(model, result.trajectory)
    compactions = [e for e in result.trajectory if e.kind == "compaction"]
    assert 3 < others <= len(compactions) < 100, "seldom, and down to the low watermark"
    by = {entry.data["by"] for entry in compactions if "by" in entry.data}
    assert ("model" in by) == summarize
    assert bool(model.digests) == summarize
    assert result.context is not None
    assert result.context.window == 1500
    assert result.context.source == "usage"
    assert result.context.tokens <= 1500
    assert sum(usage.tool_calls for usage in [result.usage]) == len(
        [e for e in result.trajectory if e.kind == "observation"]
    )


@pytest.mark.parametrize("planning", ["inline", "explicit"])
@pytest.mark.parametrize("renders", [True, False])
async def test_with_a_plan(planning: Planning, renders: bool) -> None:
    model = Model(60, planning=planning, renders_prompts=renders, window=1200)
    result = await model.agent().run("Count.")
    assert (result.status, result.output) == (RunStatus.completed, "done")
    assert max(model.sizes) <= 1200 - ANSWER
    check_prompts(model, result.trajectory)
    records = [e.data["record"] for e in result.trajectory if "record" in e.data]
    assert records
    if result.plan is not None and planning == "explicit":
        assert all(record.startswith(f"Plan: {result.plan.text}") for record in records)


async def test_streamed_and_unstreamed_runs_send_the_same() -> None:
    one, other = Model(80), Model(80)
    result = await one.agent().run("Count.")
    events, streamed = await stream(other.agent(), "Count.")
    plain = [dataclasses.replace(request, watched=False) for request in other.backend.requests]
    assert [(r.messages, r.tools) for r in plain] == [
        (r.messages, r.tools) for r in one.backend.requests
    ]
    compacted = [event for event in events if isinstance(event, Compacted)]
    entries = [e for e in streamed.trajectory if e.kind == "compaction"]
    assert [event.reason for event in compacted] == [e.data["reason"] for e in entries]
    assert [event.before for event in compacted] == [e.data["before"] for e in entries]
    assert all(event.after < event.before for event in compacted[1:])
    assert result.usage.requests == streamed.usage.requests == len(other.backend.requests)
    texts = [getattr(event, "text", "") for event in events]
    assert not any("seven is prime" in text for text in texts), "nobody sees how it is written"


async def test_the_tools_are_offered_from_the_first_compaction_on() -> None:
    model = Model(60)
    await model.agent().run("Count.")
    names = [[t["function"]["name"] for t in r.tools] for r in model.backend.requests]
    first = names.index(["look", "open", "pin", "recall"])
    assert all(some == ["look"] for some in names[:first])
    assert all(len(some) == 4 for some in names[first:])


async def test_own_tools_of_these_names_win() -> None:
    opened: list[str] = []

    @tool(name="open")
    async def my_open(path: str) -> str:
        """Open a file."""
        opened.append(path)
        return "mine"

    model = Model(40)
    agent = Agent(
        model.backend,
        tools=[look, my_open],
        planning="off",
        sampling=SAMPLING,
        limits=Limits(max_steps=100),
    )
    result = await agent.run("Count.")
    last = model.backend.requests[-1]
    assert [t["function"]["name"] for t in last.tools] == ["look", "open", "pin", "recall"]
    assert "path" in str(last.tools[1])
    assert result.ok


@pytest.mark.parametrize("task", ["word " * 5000, "漢字" * 9000, "x" * 40_000])
async def test_a_task_larger_than_the_window_is_cut(task: str) -> None:
    model = Model(20)
    result = await model.agent().run(task)
    assert result.ok
    assert max(model.sizes) <= 1500 - ANSWER
    assert result.trajectory[1].text == task, "stored whole"
    shown = model.backend.requests[0].messages[-1].content
    assert "characters left out here: open('e1', " in shown
    assert [t["function"]["name"] for t in model.backend.requests[0].tools] == [
        "look",
        "open",
        "pin",
        "recall",
    ]


async def test_a_huge_observation_is_shown_cut() -> None:
    text = "".join(f"{n} line\n" for n in range(450_000))

    @tool
    async def huge() -> str:
        """Give a lot."""
        return text

    backend = ScriptedBackend([call("huge"), "done"], context_window=4000)
    agent = Agent(backend, tools=[huge], planning="off", sampling=SAMPLING)
    result = await agent.run("Count.")
    assert result.ok
    (entry,) = [e for e in result.trajectory if e.kind == "observation"]
    assert len(entry.text) > 5_000_000
    shown = backend.requests[1].messages[-1]
    assert isinstance(shown, ToolMessage)
    assert shown.content.startswith("0 line\n1 line\n")
    assert shown.content.endswith("449999 line\n")
    assert len(shown.content) < 4000


async def test_many_calls_in_one_message_that_exceed_the_window_together() -> None:
    many = calls(*(call("look", n=n, words=70) for n in range(40)))
    model = Model(0)
    backend = ScriptedBackend([many, "done"], context_window=2000)
    agent = Agent(backend, tools=[look], planning="off", sampling=SAMPLING)
    result = await agent.run("Count.")
    assert result.ok
    assert len(backend.prompt(backend.requests[1]).split()) <= 2000
    answers = [m for m in backend.requests[1].messages if isinstance(m, ToolMessage)]
    assert [m.call_id for m in answers] == [f"call_1_{n}" for n in range(40)]
    assert model


async def test_a_prompt_that_cannot_be_made_smaller_is_not_compacted_at_each_step() -> None:
    model = Model(30, window=2000, words=10)
    agent = model.agent()
    agent = Agent(
        model.backend,
        tools=[look],
        planning="off",
        sampling=SAMPLING,
        instructions="word " * 1750,
        limits=Limits(max_steps=100),
    )
    result = await agent.run("Count.")
    compactions = [e for e in result.trajectory if e.kind == "compaction"]
    assert len(compactions) < 15
    check_prompts(model, result.trajectory)


async def test_a_session_goes_on_through_compactions() -> None:
    memory = Memory()
    records: list[str] = []
    result: RunResult | None = None
    for number in range(6):
        model = Model(25, seed=number)
        result = await model.agent(memory).run(f"Count {number}.", session="s")
        assert result.ok
        assert max(model.sizes) <= 1500 - ANSWER
        check_prompts(model, result.trajectory)
    assert result is not None
    records = [e.data["record"] for e in result.trajectory if "record" in e.data]
    assert len(records) > 3
    assert f"{result.trajectory.messages()[-1].content}" == "done"


async def test_a_failed_task_leaves_a_session_as_it_was() -> None:
    memory = Memory(summarize=False)
    first = Model(20, words=60)
    await first.agent(memory).run("Count.", session="s")
    seen = memory.store.load("s")
    before = Window(seen).messages()
    down = ScriptedBackend([BackendUnavailable("down")], context_window=700)
    agent = Agent(down, tools=[look], planning="off", sampling=SAMPLING, memory=memory)
    with pytest.raises(BackendUnavailable):
        await agent.run("More. " * 100, session="s", documents=["a document " * 100])
    after = memory.store.load("s")
    assert any(e.kind == "compaction" for e in after.since(len(seen))), "it made room first"
    assert Window(after).messages() == before


async def test_compacting_does_not_call_tools_or_lose_observations() -> None:
    ran: list[int] = []

    @tool
    async def count(n: int) -> str:
        """Count."""
        ran.append(n)
        return f"counted {n} " * 30

    script = [call("count", n=n) for n in range(50)]
    replies: list[Callable[[ModelRequest], str]] = []
    left = iter(script)

    def reply(request: ModelRequest) -> str:
        return RECORD if is_digest(request) else next(left, "done")

    backend = ScriptedBackend(itertools.repeat(reply), context_window=1500)
    agent = Agent(
        backend, tools=[count], planning="off", sampling=SAMPLING, limits=Limits(max_steps=100)
    )
    result = await agent.run("Count.")
    assert result.ok
    assert ran == list(range(50))
    assert not replies
    stored = [m for m in result.trajectory.messages() if isinstance(m, ToolMessage)]
    assert len(stored) == 50
    assert all(isinstance(s.message, AssistantMessage) for s in result.steps)


async def test_each_message_has_its_size() -> None:
    agent = Agent(
        ScriptedBackend([call("look", n=1), "", "done"]),
        tools=[look],
        instructions="Be brief.",
        planning="off",
    )
    result = await agent.run("Look.", documents=["A text."])
    sizes = {entry.kind: entry.tokens for entry in result.trajectory if entry.message is not None}
    assert set(sizes) == {"instructions", "document", "task", "assistant", "observation", "note"}
    assert all(sizes.values())
