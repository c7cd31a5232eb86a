"""A process that dies: from whatever the store has by then, the run goes on and repeats nothing."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from ling_agent import Agent, ConfigurationError, Limits, Memory, Sampling, StoreError, tool
from ling_agent.backends import ModelRequest
from ling_agent.memory import Entry, InMemoryStore, Trajectory
from ling_agent.messages import AssistantMessage, UserMessage
from ling_agent.testing import ScriptedBackend
from ling_agent.tools import Tool

from .helpers import call, calls

pytestmark = pytest.mark.anyio

STEPS = 14
UNKNOWN = "whether it took effect is not known"


class RecordingStore(InMemoryStore):
    """Remembers what was written together."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[tuple[list[Entry], str | None]] = []

    def append(self, run_id: str, entries: Sequence[Entry], *, status: str | None = None) -> None:
        super().append(run_id, entries, status=status)
        self.batches.append((list(entries), status))


class World:
    """What the tools have done, whichever process ran them."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()

        # Exclusive, so that calls run in their order: trio starts tasks in any.
        @tool(exclusive=True)
        async def pay(n: int) -> str:
            """Pay."""
            self.done[f"pay {n}"] += 1
            return f"paid {n} " * 25

        @tool(idempotent=True)
        async def look(n: int) -> str:
            """Look."""
            self.done[f"look {n}"] += 1
            return f"seen {n} " * 15

        self.tools: list[Tool[..., Any]] = [pay, look]


def reply(request: ModelRequest) -> str:
    """A model that goes on from what it sees: two calls a step, then the answer."""
    last = request.messages[-1]
    if isinstance(last, UserMessage) and last.content.startswith("The conversation is about"):
        return "Goal: pay.\nFacts:\n- paid\nDecisions:\n- go on"
    steps = [m for m in request.messages if isinstance(m, AssistantMessage) and m.calls]
    step = int(steps[-1].calls[0].id.split("_")[1]) + 1 if steps else 1
    if step > STEPS:
        return "done"
    return calls(call("pay", n=step), call("look", n=step))


def agent(world: World, store: InMemoryStore, *, summarize: bool = False) -> Agent:
    return Agent(
        ScriptedBackend(itertools.repeat(reply), context_window=1000, renders_prompts=True),
        tools=world.tools,
        planning="off",
        sampling=Sampling(max_tokens=80),
        memory=Memory(store, summarize=summarize),
        limits=Limits(max_steps=100, max_parallel_tools=1),
    )


def requests_of(agent: Agent) -> list[ModelRequest]:
    backend = agent._configuration.backend  # pyright: ignore[reportPrivateUsage]
    assert isinstance(backend, ScriptedBackend)
    return backend.requests


def begun_and_finished(entries: Sequence[Entry]) -> tuple[set[str], set[str]]:
    begun = {e.data["call_id"] for e in entries if e.kind == "call"}
    finished = {getattr(e.message, "call_id", "") for e in entries if e.kind == "observation"}
    return begun, finished


def named(call_id: str) -> str:
    _, step, index = call_id.split("_")
    return f"{('pay', 'look')[int(index)]} {step}"


async def complete(summarize: bool) -> tuple[RecordingStore, list[ModelRequest]]:
    world, store = World(), RecordingStore()
    whole = agent(world, store, summarize=summarize)
    result = await whole.run("Pay.", session="s")
    assert result.output == "done"
    assert any(entry.kind == "compaction" for entry in result.trajectory)
    assert set(world.done.values()) == {1}
    return store, requests_of(whole)


@pytest.mark.parametrize("summarize", [True, False])
async def test_from_all_that_was_written_the_run_goes_on_to_its_end(summarize: bool) -> None:
    recorded, requests = await complete(summarize)
    for length in range(1, len(recorded.batches)):
        store, world = InMemoryStore(), World()
        for entries, status in recorded.batches[:length]:
            store.append("s", entries, status=status)
        kept = list(store.load("s"))
        begun, finished = begun_and_finished(kept)
        second = agent(world, store, summarize=summarize)
        result = await second.resume("s")
        assert result.output == "done"
        check_calls(world, begun, finished)
        if begun <= finished:  # else a call is written once more, and handles are others
            tail = requests_of(second)
            expected = requests[len(requests) - len(tail) :]
            assert [r.messages for r in tail] == [r.messages for r in expected]
            assert [r.tools for r in tail] == [r.tools for r in expected]
        assert len(result.trajectory) >= len(kept)
        assert list(result.trajectory)[: len(kept)] == kept


@pytest.mark.parametrize("seed", range(4))
async def test_from_any_beginning_of_the_log(seed: int) -> None:
    """Finer than what is ever written at once."""
    recorded, _ = await complete(summarize=True)
    entries = [entry for batch, _ in recorded.batches for entry in batch]
    assert isinstance(entries[-2].message, AssistantMessage), "the answer and what it has cost"
    del entries[-2:]
    for length in random.Random(seed).sample(range(1, len(entries)), 12):
        store, world = InMemoryStore(), World()
        store.append("s", entries[:length])
        begun, finished = begun_and_finished(entries[:length])
        result = await agent(world, store).resume("s")
        assert result.output == "done"
        check_calls(world, begun, finished)


async def test_dying_again_and_again() -> None:
    world, store = World(), RecordingStore()
    with pytest.raises(Died):
        await agent(world, DyingStore(store, 3)).run("Pay.", session="s")
    output: str | None = None
    for lives in itertools.cycle([2, 4, 1, 3]):
        with contextlib.suppress(Died):
            output = (await agent(world, DyingStore(store, lives)).resume("s")).output
        if output is not None:
            break
    assert output == "done"
    assert all(n == 1 for name, n in world.done.items() if name.startswith("pay"))
    assert all(world.done[f"pay {n}"] <= 1 for n in range(1, STEPS + 1))


def check_calls(world: World, begun: set[str], finished: set[str]) -> None:
    for step in range(1, STEPS + 1):
        for index in (0, 1):
            call_id = f"call_{step}_{index}"
            done = world.done[named(call_id)]
            if call_id in finished:
                assert not done, "a finished call was made again"
            elif call_id in begun and index == 0:
                assert not done, "a call that may have been made was made again"
            else:
                assert done == 1


class Died(BaseException):
    """The process ends: nothing else is written."""


class DyingStore(InMemoryStore):
    """Writes to another store so many times; from then on nothing is written by this process."""

    def __init__(self, store: InMemoryStore, lives: int) -> None:
        super().__init__()
        self._store = store
        self._lives = lives

    def append(self, run_id: str, entries: Sequence[Entry], *, status: str | None = None) -> None:
        if not self._lives:
            raise Died
        self._lives -= 1
        self._store.append(run_id, entries, status=status)

    def load(self, run_id: str) -> Trajectory:
        return self._store.load(run_id)

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._store


async def test_the_model_is_told_of_an_interrupted_call() -> None:
    recorded, _ = await complete(summarize=False)
    store, world = InMemoryStore(), World()
    for entries, status in recorded.batches:
        store.append("s", entries, status=status)
        if any(e.kind == "call" and e.data["call_id"] == "call_2_0" for e in entries):
            break
    result = await agent(world, store).resume("s")
    told = [e.text for e in result.trajectory if UNKNOWN in e.text]
    assert len(told) == 1
    assert world.done["pay 2"] == 0
    assert world.done["look 2"] == 1


class FailingStore(RecordingStore):
    """Whose n-th write fails."""

    def __init__(self, *fails: int) -> None:
        super().__init__()
        self._fails = fails
        self._writes = 0

    def append(self, run_id: str, entries: Sequence[Entry], *, status: str | None = None) -> None:
        self._writes += 1
        if self._writes in self._fails:
            raise StoreError("the disk is full")
        super().append(run_id, entries, status=status)


@pytest.mark.parametrize("fails", range(2, 4 * STEPS + 3))
async def test_a_store_that_fails_loses_nothing_within_the_process(fails: int) -> None:
    """What a write has failed to keep is kept by a later run of the same memory."""
    world, store = World(), FailingStore(fails, fails + 1)
    first = agent(world, store)
    result = await first.run("Pay.", session="s")
    if result.ok:
        assert fails >= 4 * STEPS
    else:
        assert isinstance(result.error, StoreError)
        result = await first.resume("s")
    assert result.output == "done"
    assert set(world.done.values()) == {1}, "no call twice, and none left out"
    assert len(world.done) == 2 * STEPS
    if fails + 1 < 4 * STEPS:
        assert list(store.load("s")) == list(result.trajectory)


async def test_an_answer_that_could_not_be_kept_is_kept_by_resume() -> None:
    """Which is what the error says to do; there is nothing else to go on with."""
    world, store = World(), FailingStore(4 * STEPS + 2)
    first = agent(world, store)
    result = await first.run("Pay.", session="s")
    assert result.ok
    assert any("disk is full" in note for note in result.notes)
    assert store.runs()[0].status == "interrupted"
    with pytest.raises(ConfigurationError, match="has completed"):
        await first.resume("s")
    assert store.runs()[0].status == "completed"
    assert list(store.load("s")) == list(result.trajectory)


async def test_a_run_that_could_not_be_written_at_all_has_not_begun() -> None:
    world, store = World(), FailingStore(1)
    first = agent(world, store)
    with pytest.raises(StoreError, match="disk is full"):
        await first.run("Pay.", session="s")
    assert "s" not in store
    result = await first.run("Pay again.", session="s")
    tasks = [e.data["task"] for e in result.trajectory if e.kind == "task"]
    assert tasks == ["Pay again."]


async def test_a_fork_at_any_step_goes_on_for_itself() -> None:
    recorded, requests = await complete(summarize=False)
    length = len(recorded.load("s"))
    for step in range(0, STEPS + 1, 3):
        world = World()
        second = agent(world, recorded)
        name = second.memory.fork("s", step=step)
        result = await second.resume(name)
        assert result.output == "done"
        assert set(world.done) == {f"{t} {n}" for t in ("pay", "look") for n in range(step + 1, 15)}
        tail = requests_of(second)
        assert [r.messages for r in tail] == [r.messages for r in requests[-len(tail) :]]
    assert len(recorded.load("s")) == length
