"""`Conversation`: the session that a chat is in, and what its answers have cost."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

from ...agent import Agent
from ...memory import Trajectory
from ...results import Plan, RunResult, RunStatus, Usage
from ...resuming import last_plan
from ..approving import ApprovalPrompt
from ..keeping import check_usable
from ..lines import typed
from ..terminal import Begin, resuming, starting, work


@dataclasses.dataclass
class Conversation:
    """Tasks of one session after the other.

    Attributes:
        agent: Who answers.
        session: Name of the session.
        kept: Whether it outlives the process.
        prompt: Asks about calls that need approval; None where nobody can be asked.
        answers: How many runs there were since the session was begun here.
        spent: What they have cost.
        last: The newest of them.
    """

    agent: Agent[Any]
    session: str
    kept: bool
    prompt: ApprovalPrompt | None = None
    answers: int = 0
    spent: Usage = dataclasses.field(default_factory=Usage)
    last: RunResult[Any] | None = None

    def answer(self, task: str) -> None:
        """Have a task worked on, and show that."""
        self._work(starting(task, self.session))

    def go_on(self) -> None:
        """Go on with an answer that an earlier process has left waiting for approval."""
        self._work(resuming(self.session))

    def waits(self) -> bool:
        """Whether there is one."""
        known = (info for info in self.agent.memory.store.runs() if info.run_id == self.session)
        return any(info.status == RunStatus.needs_approval for info in known)

    def _work(self, begin: Begin) -> None:
        result = work(self.agent, begin, prompt=self.prompt, stoppable=typed())
        self.last = result
        self.spent += result.usage
        self.answers += 1

    def begin(self, name: str | None = None) -> None:
        """Begin another session, or go on with one that is kept.

        Raises:
            ConfigurationError: Somebody has it.
            StoreError: The store cannot be used.
        """
        session = name or uuid.uuid4().hex[:12]
        if self.kept:
            check_usable(self.agent.memory.store, session)
        self.session, self.last, self.answers, self.spent = session, None, 0, Usage()
        if self.prompt is not None:
            self.prompt.forget()  # a tool that always may does so in its session

    def trajectory(self) -> Trajectory | None:
        """All that was said and done; None before the first task."""
        if self.last is not None:
            return self.last.trajectory
        store = self.agent.memory.store
        return store.load(self.session) if self.session in store else None

    def plan(self) -> Plan | None:
        """The newest plan of the session."""
        if self.last is not None and self.last.plan is not None:
            return self.last.plan
        trajectory = self.trajectory()
        return last_plan(trajectory) if trajectory is not None else None
