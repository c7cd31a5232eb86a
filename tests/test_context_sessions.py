"""Sessions at random: tasks, documents, failures, limits and resumed runs in small windows."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from ling_agent import (
    Agent,
    ConfigurationError,
    Document,
    Limits,
    Memory,
    RunResult,
    Sampling,
    Trajectory,
    tool,
)
from ling_agent.backends import ModelRequest
from ling_agent.errors import BackendUnavailable
from ling_agent.memory.window import Window, text_size
from ling_agent.messages import AssistantMessage, ToolMessage, UserMessage
from ling_agent.planning import CallOpening, Planning
from ling_agent.testing import Reply, ScriptedBackend

from .helpers import call, calls

pytestmark = pytest.mark.anyio

RECORDS: list[str | Reply] = [
    "Goal: g\nFacts:\n- f [e2]\nOpen:\n- o",
    "nonsense",
    Reply("Goal: x\nFacts:\n" + "- fact\n" * 40, finish_reason="length"),
]
PLANS: list[Planning] = ["off", "inline", "explicit"]
KINDS = ("compaction", "withdrawal")


def is_digest(request: ModelRequest) -> bool:
    last = request.messages[-1]
    return isinstance(last, UserMessage) and last.content.startswith("The conversation is about")


class Session:
    """A session whose every turn is chosen at random, but reproducibly."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.window = self.random.choice([1500, 3000])
        self.done: dict[int, int] = {}
        self.n = 0
        self.memory = Memory(summarize=self.random.random() < 0.7)
        self.backend = ScriptedBackend(
            itertools.repeat(self.reply),
            context_window=self.window,
            renders_prompts=self.random.random() < 0.5,
        )

        @tool
        async def look(n: int, words: int = 10) -> str:
            """Look."""
            self.done[n] = self.done.get(n, 0) + 1
            if self.random.random() < 0.1:
                raise ValueError("no")
            return " ".join(self.random.choice(["abc", "12345", "漢字"]) for _ in range(words))

        self.agent = Agent(
            self.backend,
            tools=[look],
            planning=self.random.choice(PLANS),
            sampling=Sampling(max_tokens=60),
            memory=self.memory,
            instructions="Be brief.",
        )

    def reply(self, request: ModelRequest) -> str | Reply:
        if self.random.random() < 0.03:
            raise BackendUnavailable("down")
        if is_digest(request):
            return self.random.choice(RECORDS)
        if isinstance(request.stop_when, CallOpening):
            return self.random.choice(["<tool_call>", "in words"])
        if request.prefill.endswith("`"):
            return "look`.\n"
        self.n += 1
        if "arguments" in request.prefill:
            return f'{{"n": {self.n}}}}}\n</tool_call>'
        if request.prefill:
            return " look\n2. answer"
        kind = self.random.random()
        if kind < 0.12:
            return "the answer " + "word " * self.random.randrange(40)
        if kind < 0.2:
            return self.random.choice(["", '<tool_call>\n{"name": "look", "arguments": }'])
        return calls(*(self.call() for _ in range(self.random.choice([1, 1, 1, 2, 4]))))

    def call(self) -> str:
        self.n += 1
        made: list[tuple[str, dict[str, Any]]] = [
            ("look", {"n": self.n, "words": self.random.choice([3, 20, 60, 200])}),
            ("recall", {"query": f"abc {self.n}"}),
            ("open", {"handle": f"e{self.random.randrange(60)}"}),
            ("pin", {"text": f"pin {self.random.randrange(3)}"}),
        ]
        name, arguments = self.random.choices(made, [80, 7, 7, 6])[0]
        return call(name, **arguments)

    def entries(self) -> Trajectory:
        return self.memory.store.load("s") if "s" in self.memory.store else Trajectory()

    async def turn(self, number: int, *, resume: bool) -> RunResult:
        limits = Limits(
            max_steps=self.random.choice([2, 10, 30]),
            max_total_tokens=self.random.choice([None, None, 8000]),
            max_tool_calls=self.random.choice([None, None, 7]),
        )
        if resume:
            return await self.agent.resume("s", limits=limits)
        documents: list[Document] = []
        if self.random.random() < 0.4:
            words = self.random.choices(["aa", "b\n", "漢"], k=self.random.choice([10, 300, 3000]))
            documents = [Document(" ".join(words), f"d{self.random.randrange(3)}")]
        task = f"Task {number} " + "w " * self.random.choice([1, 5, 2000])
        return await self.agent.run(task, session="s", limits=limits, documents=documents)


@pytest.mark.parametrize("seed", range(16))
async def test_whatever_happens_in_a_session(seed: int) -> None:
    session = Session(seed)
    resumable = False
    for number in range(session.random.randrange(2, 7)):
        before, resume = session.entries(), resumable and session.random.random() < 0.6
        changes = count(before)
        first = len(session.backend.requests)
        try:
            result = await session.turn(number, resume=resume)
        except BackendUnavailable:
            if not resume:
                assert Window(session.entries()).messages() == Window(before).messages()
                if resumable is False and len(before):
                    with pytest.raises(ConfigurationError, match="has completed"):
                        await session.agent.resume("s")
            continue
        resumable = not result.ok
        check_log(result.trajectory)
        check_prompts(session, first, count(result.trajectory) - changes)
    assert set(session.done.values()) <= {1}, "no call twice"


def count(trajectory: Trajectory) -> int:
    return sum(entry.kind in KINDS for entry in trajectory)


def check_log(trajectory: Trajectory) -> None:
    """The window is what its entries say, and its calls are answered in order."""
    window = Window(trajectory)
    messages = window.messages()
    assert window.size == sum(text_size(message) for message in messages)
    assert Window(Trajectory.from_jsonl(trajectory.to_jsonl())).messages() == messages
    calls: list[str] = []
    for message in messages:
        if isinstance(message, AssistantMessage):
            calls = [call.id for call in message.calls]
        elif isinstance(message, ToolMessage) and message.call_id in calls:
            assert message.call_id == calls.pop(0)


def check_prompts(session: Session, first: int, changes: int) -> None:
    """Of one run: each request extends the one before it but for compactions."""
    others, before = 0, None
    for request in session.backend.requests[first:]:
        prompt = session.backend.prompt(request)
        if before is not None and not prompt.startswith(before):
            others += 1
        if not is_digest(request):
            # What only asked whether a message opens with a call has generated something else.
            before = prompt
        assert len(prompt.split()) <= session.window or others or changes
    assert others <= changes
