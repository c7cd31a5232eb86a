"""`Ledger`: families of agents under limits, of which nobody waits for ever or spends too much."""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest

from ling_agent import Agent, Limits, RunStatus, Sampling, tool
from ling_agent.ledger import Ledger
from ling_agent.messages import AssistantMessage
from ling_agent.results import Usage
from ling_agent.testing import Reply, ScriptedBackend

from .helpers import GUARD, call, calls

pytestmark = pytest.mark.anyio

SLACK = 64
"""Tokens by which prompts that are on their way together may be larger than they were estimated."""


@tool
async def look(n: int) -> str:
    """Look."""
    await anyio.lowlevel.checkpoint()
    return f"seen {n}"


def family(chance: random.Random, depth: int, name: str) -> Agent[Any]:
    """An agent that calls its children, who call theirs, while it still writes."""
    children = [family(chance, depth - 1, f"{name}{n}") for n in range(2)] if depth else []

    def script(request: Any) -> Reply:
        if sum(isinstance(message, AssistantMessage) for message in request.messages) > 2:
            return Reply("Done.")
        made = [call("look", n=chance.randrange(99))]
        made += [call(child.name, task=str(chance.random())) for child in children]
        chance.shuffle(made)
        words = f"{calls(*made)} and more words behind them".split()
        most = request.sampling.max_tokens  # a word is a token here
        reason = "length" if most < len(words) else "stop"
        text = " ".join(words[:most])
        return Reply(text, finish_reason=reason, chunk_size=chance.choice([5, 40]))

    return Agent(
        ScriptedBackend([script] * 500),
        tools=[look, *(child.as_tool() for child in children)],
        name=name,
        planning=chance.choice(["off", "inline"]),
        sampling=Sampling(max_tokens=chance.choice([50, 1000])),
        limits=Limits(max_steps=5, max_total_tokens=chance.choice([None, 700, 3000, 20_000])),
    )


@pytest.mark.parametrize("seed", range(8))
async def test_nobody_in_a_family_waits_for_ever_and_no_limit_is_passed(seed: int) -> None:
    """A parent's model may write while its children wait for what it might still spend."""
    agent = family(random.Random(seed), 2, "a")
    with anyio.fail_after(GUARD):
        result = await agent.run("task")
    assert result.status in (RunStatus.completed, RunStatus.max_tokens)
    most = agent.limits.max_total_tokens
    assert most is None or result.usage.total_tokens <= most + SLACK


async def test_a_promise_is_kept_until_it_is_settled() -> None:
    ledger = Ledger(Limits(max_total_tokens=100), None, step=0)
    assert await ledger.promise(Sampling(max_tokens=30), 10) == Sampling(max_tokens=30)
    assert ledger.left.tokens == 60
    ledger.settle()
    ledger.charge(Usage(prompt_tokens=10, completion_tokens=5))
    assert ledger.left.tokens == 85
    assert await ledger.promise(Sampling(max_tokens=90), 10) == Sampling(max_tokens=75)
    assert await ledger.promise(Sampling(max_tokens=90), 85) is None, "its own is given back first"
