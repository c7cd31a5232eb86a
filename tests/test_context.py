"""Long runs in small windows: what fits, what leaves, and why a prompt has another beginning."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest

from ling_agent import Agent, Limits, Memory, RunResult, RunStatus, Sampling, Usage, tool
from ling_agent.backends import ModelRequest
from ling_agent.errors import BackendUnavailable, ContextOverflow
from ling_agent.events import Compacted
from ling_agent.memory import Trajectory
from ling_agent.messages import AssistantMessage, ToolMessage, UserMessage
from ling_agent.planning import CallOpening, Planning
from ling_agent.testing import Reply, ScriptedBackend

from .helpers import call, calls, stream

pytestmark = pytest.mark.anyio

ANSWER = 100
SAMPLING = Sampling(max_tokens=ANSWER)
RECORD = "Goal: count.\nFacts:\n- seven is prime [e3]\nDecisions:\n- go on\nOpen:\n- the rest"
NOTE = "The conversation is about to be shortened."


@tool
async def look(n: int, words: int = 20) -> str:
    """Look at a number."""
    if n < 0:
        raise ValueError("negative")
    return " ".join(f"w{n}x{place}" for place in range(words))


def is_digest(request: ModelRequest) -> bool:
    last = request.messages[-1]
    return isinstance(last, UserMessage) and last.content.startswith(NOTE)


class Model:
    """Makes many calls and then answers; writes a record when it is asked for one.

    The prompts are checked as they come: none is larger than the window less the answer's room.
    """

    def __init__(
        self,
        steps: int,
        *,
        window: int | None = 1500,
        seed: int = 0,
        most_calls: int = 1,
        words: int = 40,
        record: str | Reply | Exception = RECORD,
        planning: Planning = "off",
        renders_prompts: bool = True,
    ) -> None:
        self._random = random.Random(seed)
        self._steps = steps
        self._most_calls = most_calls
        self._words = words
        self._record = record
        self._planning = planning
        self._n = 0
        self.digests: list[ModelRequest] = []
        self.backend = ScriptedBackend(
            itertools.repeat(self._reply), context_window=window, renders_prompts=renders_prompts
        )
        self._window = window
        self.sizes: list[int] = []
        self.all_sizes: list[int] = []

    def _reply(self, request: ModelRequest) -> str | Reply:
        size = len(self.backend.prompt(request).split())
        self.all_sizes.append(size)
        if is_digest(request):
            self.digests.append(request)
            assert size + request.sampling.max_tokens <= (self._window or size * 9), "no room"
            if isinstance(self._record, Exception):
                raise self._record
            return self._record
        self.sizes.append(size)
        if isinstance(request.stop_when, CallOpening):
            return "<tool_call>"
        if request.prefill.endswith("`"):
            return "look`.\n"
        if request.prefill.startswith("Plan: use"):
            return '{"n": 1}}\n</tool_call>'
        if request.prefill or (self._planning == "explicit" and not self._n):
            self._n = self._n or 1
            return " look\n2. look again\n3. answer" if request.prefill else "Plan:\n1. look\n2. go"
        self._n += 1
        if self._n > self._steps:
            return "done"
        count = self._random.randrange(self._most_calls) + 1
        return calls(
            *(
                call("look", n=self._n * 100 + k, words=self._random.randrange(1, self._words))
                for k in range(count)
            )
        )

    def agent(self, memory: Memory | None = None, **options: Any) -> Agent:
        return Agent(
            self.backend,
            tools=[look],
            planning=self._planning,
            sampling=SAMPLING,
            memory=memory or Memory(),
            limits=Limits(max_steps=10_000),
            instructions="You count.",
            **options,
        )


def check_prompts(model: Model, trajectory: Trajectory) -> int:
    """Each request extends the one before it, or a compaction between them says why not.

    Returns:
        How many had another beginning.
    """
    backend = model.backend
    requests = backend.requests
    others = 0
    before: tuple[str, ModelRequest] | None = None
    for request in requests:
        prompt = backend.prompt(request)
        if before is not None and not prompt.startswith(before[0]):
            others += 1
            earlier = before[1]
            if not isinstance(earlier.stop_when, CallOpening):
                assert changed(earlier, request), "a prompt changed without a compaction"
        if not is_digest(request):
            before = (prompt, request)
        elif before is not None:
            assert prompt.startswith(before[0]), "a digest is written behind the live prompt"
    compactions = [e for e in trajectory if e.kind == "compaction"]
    assert others <= len(compactions), "each change has its entry"
    assert all(entry.data["reason"] for entry in compactions)
    return others


def changed(earlier: ModelRequest, later: ModelRequest) -> bool:
    """Whether a compaction shows in the messages or the tools."""
    return earlier.tools != later.tools or later.messages[: len(earlier.messages)] != (
        earlier.messages
    )


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


BAD_RECORDS: dict[str, str | Reply | Exception] = {
    "error": BackendUnavailable("gone"),
    "overflow": ContextOverflow("too long", prompt_tokens=9999, context_window=1500),
    "call": call("look", n=5),
    "call and record": RECORD + "\n" + call("look", n=5),
    "cut": Reply(RECORD, finish_reason="length"),
    "nonsense": "I will go on now.",
    "one heading": "Goal: count",
    "nothing": "",
    "broken call": '<tool_call>\n{"name": }\n</tool_call>',
}


@pytest.mark.parametrize("name", BAD_RECORDS)
async def test_a_record_that_fails_is_made_by_rule(name: str) -> None:
    model = Model(60, record=BAD_RECORDS[name])
    result = await model.agent().run("Count.")
    assert (result.status, result.output) == (RunStatus.completed, "done")
    made = [e.data for e in result.trajectory if "record" in e.data]
    assert model.digests
    assert {data["by"] for data in made} == {"rule"}
    for data in made:
        assert data["record"].startswith("Goal: Count.\nFacts:\n")
        assert "seven is prime" not in data["record"]
    assert max(model.sizes) <= 1500 - ANSWER
    check_prompts(model, result.trajectory)
    noted = [note for note in result.notes if "no record" in note]
    assert bool(noted) == isinstance(BAD_RECORDS[name], Exception)


async def test_what_a_record_says_is_never_an_answer() -> None:
    """A run that ends while or right after a record is written has not said it."""

    def half(request: ModelRequest) -> Reply:
        if is_digest(request):
            return Reply("Goal: count.\nFacts:\n- secret", delay=30, chunk_size=10)
        return Reply(call("look", n=len(model.backend.requests), words=90))

    model = Model(0)
    model.backend._replies = itertools.repeat(half)  # pyright: ignore[reportPrivateUsage]
    agent = model.agent()
    with_deadline = Limits(timeout=0.7, max_steps=1000)
    result = await agent.run("Count.", limits=with_deadline)
    assert result.status is RunStatus.timeout
    assert result.output is None
    assert "secret" not in str([e.data.get("partial") for e in result.trajectory])


async def test_costs_of_records_count() -> None:
    model = Model(60)
    result = await model.agent().run("Count.")
    assert result.usage.requests == len(model.backend.requests)
    assert result.usage.prompt_tokens == sum(model.all_sizes)
    entries = [e for e in result.trajectory if e.kind == "usage"]
    assert sum(e.data["prompt_tokens"] for e in entries) == result.usage.prompt_tokens


@pytest.mark.parametrize("limit", [3_000, 8_000, 20_000, 33_333])
async def test_the_limit_of_tokens_holds_with_compactions(limit: int) -> None:
    model = Model(1000)
    result = await model.agent().run(
        "Count.", limits=Limits(max_steps=5000, max_total_tokens=limit)
    )
    assert result.status is RunStatus.max_tokens
    # The scripted model writes what it wants: one answer more than was left, at most.
    assert result.usage.total_tokens <= limit + ANSWER


async def test_an_unknown_window_is_asked_for_and_nothing_is_compacted() -> None:
    model = Model(60, window=None)
    result = await model.agent().run("Count.")
    assert any("context window is unknown" in note for note in result.notes)
    assert not any(entry.kind == "compaction" for entry in result.trajectory)
    assert result.context is not None
    assert result.context.window is None


async def test_the_memory_may_name_the_window() -> None:
    model = Model(60, window=None)
    result = await model.agent(Memory(context_window=1500)).run("Count.")
    assert not any("context window" in note for note in result.notes)
    assert max(model.sizes) <= 1500 - ANSWER
    assert result.context is not None
    assert result.context.window == 1500


async def test_an_unknown_window_is_learned_from_a_refusal() -> None:
    model = Model(60, window=None)
    agent = model.agent()
    real = model.backend._words  # pyright: ignore[reportPrivateUsage]

    def words(request: ModelRequest) -> int:
        count = real(request)
        if count > 1500:
            raise ContextOverflow("too long", prompt_tokens=count, context_window=1500)
        return count

    model.backend._words = words  # type: ignore[method-assign]  # pyright: ignore[reportPrivateUsage]
    result = await agent.run("Count.")
    assert result.ok
    reasons = [e.data["reason"] for e in result.trajectory if e.kind == "compaction"]
    assert reasons[0].startswith("refused: ")
    assert len([reason for reason in reasons if reason.startswith("refused")]) == 1
    assert result.context is not None
    assert result.context.window == 1500
    assert result.usage.requests == len(model.backend.requests) - 1, "what was refused cost nothing"


async def test_a_refusal_that_does_not_help_ends_the_run() -> None:
    refusal = ContextOverflow("too long", prompt_tokens=5000)
    backend = ScriptedBackend([call("look", n=1), refusal, refusal], context_window=None)
    result = await Agent(backend, tools=[look], planning="off").run("Count.")
    assert result.status is RunStatus.failed
    assert isinstance(result.error, ContextOverflow)


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
    from ling_agent.memory.window import Window

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


class Counting(ScriptedBackend):
    """With a tokenizer, for which a word is a token."""

    counted = 0

    async def count_tokens(self, text: str) -> int | None:
        self.counted += len(text)
        return len(text.split())


@pytest.mark.parametrize("usage", [None, Usage()])
async def test_the_tokenizer_counts_each_text_about_once(usage: Usage | None) -> None:
    """Also where the server does not say what a request has cost."""
    n = 0

    def reply(request: ModelRequest) -> Reply:
        nonlocal n
        n += 1
        return Reply(call("look", n=n, words=60) if n < 150 else "done", usage=usage)

    backend = Counting(itertools.repeat(reply), context_window=4000)
    agent = Agent(
        backend,
        tools=[look],
        planning="off",
        sampling=SAMPLING,
        memory=Memory(summarize=False),
        limits=Limits(max_steps=200),
    )
    result = await agent.run("Count.")
    assert result.ok
    assert any(entry.kind == "compaction" for entry in result.trajectory)
    assert max(len(backend.prompt(r).split()) for r in backend.requests) <= 4000 - ANSWER
    written = sum(len(entry.text) for entry in result.trajectory if entry.message is not None)
    assert backend.counted < 4 * written


async def test_the_source_of_the_count_is_on_the_result() -> None:
    backend = Counting([call("look", n=1), "done"])
    limits = Limits(max_steps=1, max_total_tokens=100_000)
    agent = Agent(backend, tools=[look], planning="off", limits=limits)
    result = await agent.run("Count.")
    assert result.context is not None
    assert result.context.source == "usage"
    no_usage = Counting([Reply("done", usage=Usage())])
    result = await Agent(no_usage, planning="off").run("Count.")
    assert result.context is not None
    assert result.context.source == "estimate"
    assert result.context.tokens > 0


async def test_the_cost_of_a_record_is_that_of_the_step_it_is_made_for() -> None:
    model = Model(60)
    agent = model.agent()
    first = await agent.run("Count.", limits=Limits(max_steps=12))
    steps = [*first.steps]
    while not first.ok:
        first = await agent.resume(first.run_id, limits=Limits(max_steps=1))
        steps += first.steps
        assert len(first.steps) <= 1 + bool(first.steps[0].observations)
    assert [step.index for step in steps] == list(range(1, 62))
    assert sum(step.usage.requests for step in steps) == len(model.backend.requests)
    assert model.digests
