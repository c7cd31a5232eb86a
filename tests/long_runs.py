"""What the tests of long runs share: a model that makes many calls, and the check of prompts."""

from __future__ import annotations

import itertools
import random
from typing import Any

from ling_agent import Agent, Limits, Memory, Sampling, tool
from ling_agent.backends import ModelRequest
from ling_agent.memory import Trajectory
from ling_agent.messages import UserMessage
from ling_agent.planning import CallOpening, Planning
from ling_agent.testing import Reply, ScriptedBackend

from .helpers import call, calls

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
        self._planning: Planning = planning
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
