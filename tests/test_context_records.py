"""Records that fail, what compactions cost, and where the sizes come from."""

from __future__ import annotations

import itertools

import pytest

from ling_agent import Agent, Limits, Memory, RunStatus, Usage, tool
from ling_agent.backends import ModelRequest
from ling_agent.errors import BackendUnavailable, ContextOverflow
from ling_agent.testing import Reply, ScriptedBackend

from .helpers import call
from .long_runs import ANSWER, RECORD, SAMPLING, Model, check_prompts, is_digest, look

pytestmark = pytest.mark.anyio


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


async def test_texts_that_take_far_more_tokens_than_those_before() -> None:
    """Sizes are estimates where there is no tokenizer; a refusal says what they are."""

    @tool
    async def long_words(n: int) -> str:
        """Give long words."""
        return f"{n} " + "donaudampfschifffahrtsgesellschaft" * 9

    script = [call("long_words", n=n) for n in range(12)]
    backend = ScriptedBackend([*script, "done", "done"], context_window=1500)
    agent = Agent(backend, tools=[long_words], planning="off", sampling=SAMPLING)
    await agent.run("Count.", session="s")
    result = await agent.run("w " * 4000, session="s")
    assert result.output == "done"
    assert any(
        entry.kind == "compaction" and "longer than its share" in entry.data["reason"]
        for entry in result.trajectory
    )
