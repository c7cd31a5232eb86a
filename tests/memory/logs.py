"""Random logs, as runs write them: what the tests of the window and of compaction share."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import strategies as st

from ling_agent import Trajectory
from ling_agent.memory.window import Window, content_of
from ling_agent.messages import AssistantMessage, SystemMessage, ToolCall, ToolMessage, UserMessage

SEEDS = st.integers(0, 2**32 - 1)
OPS = st.lists(
    st.sampled_from(
        ["task", "step", "step", "step", "note", "pin", "pin entry", "compact", "fail"]
    ),
    max_size=14,
)
WORDS = ["alpha", "beta", "gamma", "δέλτα", "漢字", "emoji🎉", "0x1f4a9", "\n"]


class Log:
    """A log that grows by one thing at a time, at random but reproducibly."""

    def __init__(self, seed: int, *, most_words: int = 12) -> None:
        self.random = random.Random(seed)
        self.most_words = most_words
        self.trajectory = Trajectory()
        if self.random.random() < 0.7:
            self.trajectory.append("instructions", SystemMessage("Be brief."))
        self.task()

    def text(self) -> str:
        """Some words."""
        count = self.random.randrange(1, self.most_words + 1)
        return " ".join(self.random.choice(WORDS) for _ in range(count))

    def grow(self, op: str) -> None:
        """Do one thing."""
        getattr(self, op.replace(" ", "_"))()

    def task(self) -> None:
        """A further task of the session, with documents."""
        for number in range(self.random.randrange(3)):
            self.trajectory.append("document", UserMessage(self.text()), name=f"d{number}")
        text = self.text()
        self.trajectory.append("task", UserMessage(text), task=text)

    def step(self) -> None:
        """A message of the model with calls, answered in any order."""
        step = self.trajectory.last_step + 1
        calls = tuple(
            ToolCall(f"call_{step}_{n}", "look", {"n": n}) for n in range(self.random.randrange(4))
        )
        raw = self.text() if self.random.random() < 0.5 else None
        message = AssistantMessage(self.text(), None, calls, raw)
        self.trajectory.append("assistant", message, step=step)
        usage = self.random.randrange(1, 999)
        self.trajectory.append("usage", step=step, prompt_tokens=usage, completion_tokens=2)
        for call in self.random.sample(calls, len(calls)):
            self.trajectory.append("call", step=step, call_id=call.id)
        for call in self.random.sample(calls, len(calls)):
            answer = ToolMessage(call.id, call.name, f"{call.id}: {self.text()}")
            self.trajectory.append("observation", answer, step=step, call=f"look({call.id})")

    def note(self) -> None:
        """A note to the model."""
        self.trajectory.append("note", UserMessage(self.text()), step=self.trajectory.last_step)

    def pin(self) -> None:
        """A text that is to stay."""
        called: dict[str, Any] = {"called": True} if self.random.random() < 0.5 else {}
        self.trajectory.append("pin", step=self.trajectory.last_step, text=self.text(), **called)

    def pin_entry(self) -> None:
        """A message that is to stay."""
        items = [item for group in Window(self.trajectory).groups() for item in group]
        if items:
            self.trajectory.pin(self.random.choice(items).entry)

    def compact(self) -> None:
        """Change what is shown, whether or not it makes sense."""
        window = Window(self.trajectory)
        task = window.task
        groups = [g for g in window.groups() if task is None or g[0] is not task.item]
        dropped = groups[: self.random.randrange(len(groups) + 1)]
        data: dict[str, Any] = {}
        if dropped:
            data["dropped"] = [[i.entry.id, i.entry.id] for group in dropped for i in group]
            data["record"] = self.text()
        seen = [i for group in groups for i in group if isinstance(i.message, ToolMessage)]
        if seen:
            one, other = self.random.choice(seen).entry, self.random.choice(seen).entry
            data["stubs"] = [[one.id, f"[{one.handle} left out]"]]
            half = len(content_of(other)) // 3
            data["cut"] = [[other.id, half, half, "[cut]"]]
        if task is not None and task.documents:
            entry, shown = self.random.choice(task.documents)
            data["documents"] = [[entry.id, self.random.randrange(shown + 1)]]
        self.trajectory.append("compaction", step=self.trajectory.last_step, **data)

    def fail(self) -> None:
        """A task that could not even begin."""
        since = len(self.trajectory)
        self.task()
        for op in self.random.sample(["compact", "pin", "pin entry", "note"], 2):
            self.grow(op)
        self.trajectory.append("withdrawal", step=self.trajectory.last_step, since=since)
