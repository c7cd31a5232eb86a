"""A session that outgrows its window, on a real server: real counts, a record from the cache."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest

from ling_agent import Agent, Limits, Memory, RunResult, Sampling
from ling_agent.memory import Entry
from scripts.servers.launch import LocalServer

from .support import backend_for

pytestmark = pytest.mark.anyio

WINDOW = 2048
ANSWER = 24
BLOCK = 128  # tokens that vLLM on a CPU caches together; SGLang's are fewer
STORY = (
    "Note number {n}: the warehouse in Lisbon has {m} boxes of cable, the truck leaves at {h}:30, "
    "and the driver of that day is called Marta. The scale at the gate shows {n}7 kilograms too "
    "much, so each weight has to be corrected before it is written into the list. "
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("mode", ["chat", "raw"])
async def test_a_session_outgrows_its_window(server: LocalServer, mode: str) -> None:
    agent = Agent(
        backend_for(server, mode=mode),
        instructions="Answer in a few words.",
        memory=Memory(context_window=WINDOW),
        limits=Limits(max_steps=2),
        sampling=Sampling(max_tokens=ANSWER),
    )
    results: list[RunResult] = []
    for n in range(1, 13):
        task = 3 * STORY.format(n=n, m=40 + n, h=6 + n) + "Say how many boxes there are."
        results.append(await agent.run(task, session=f"warehouse {mode}"))
    assert all(result.output for result in results), [result.error for result in results]

    entries = list(results[-1].trajectory)
    prompts = [entry.data["prompt_tokens"] for entry in entries if entry.kind == "usage"]
    assert max(prompts) <= WINDOW
    compactions = [entry for entry in entries if entry.kind == "compaction"]
    assert compactions
    assert len(compactions) <= 4
    for earlier, later in pairwise(results):
        assert earlier.context is not None
        assert earlier.context.window == WINDOW
        assert earlier.context.source in ("usage", "tokenizer")
        new = later.trajectory.since(len(earlier.trajectory))
        if any(entry.kind == "compaction" for entry in new):
            continue
        grown = later.usage.prompt_tokens - earlier.context.tokens
        assert 0 < grown < 3 * len(STORY), "what was counted is what the next request begins with"

    records = [entry for entry in entries if entry.data.get("digest")]
    assert records, "the model is asked for the record"
    for asked in records:
        cached = asked.data["cached_tokens"]
        if cached is not None:
            assert cached > known_before(entries, asked.id) - 2 * BLOCK, "it comes from the cache"


def known_before(entries: Sequence[Entry], number: int) -> int:
    """Tokens of the newest request before an entry, with its answer."""
    usage = next(entry for entry in reversed(entries[:number]) if entry.kind == "usage")
    return int(usage.data["prompt_tokens"]) + int(usage.data["completion_tokens"])
