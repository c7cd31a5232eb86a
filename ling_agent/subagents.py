"""`Host`: what the run of a sub-agent has from the run that called it.

A sub-agent (`Agent.as_tool`) is a tool whose work is a run of its own. That run has the name of its
call behind the name of the run that made it (``run/call_1_0``), so a process that comes later finds
it and goes on with it. It keeps its log in the other's store unless its agent has a memory of its
own, its cost is counted on the other's limits too, and its events come as `SubagentEvent`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from .approvals import Approval, Approver
from .cancellation import CancelToken
from .events import Event
from .ledger import Ledger
from .memory import Memory


@dataclass(frozen=True, slots=True)
class Host:
    """The run that a sub-agent works for.

    Attributes:
        run_id: Its name.
        memory: Its memory.
        cancel: Stops and cancels it.
        approve: Decides about calls of a sub-agent that has no such function of its own.
        decisions: What was decided about its calls, and those of its sub-agents.
        tell: Takes an event and waits for its reader.
        ledger: What it has cost and may still cost.
        watched: Whether somebody looks at its events.
        secrets: What must not be shown.
    """

    run_id: str
    memory: Memory
    cancel: CancelToken
    approve: Approver | None
    decisions: Mapping[str, Approval]
    tell: Callable[[Event], Awaitable[None]]
    ledger: Ledger
    watched: bool
    secrets: tuple[object, ...]

    def child_id(self, call_id: str) -> str:
        """Name of the run that works for a call."""
        return f"{self.run_id}/{call_id}"

    def decisions_for(self, call_id: str) -> dict[str, Approval]:
        """Those about calls of the run that works for a call, by their ids in it."""
        prefix = f"{call_id}/"
        return {
            id_.removeprefix(prefix): decision
            for id_, decision in self.decisions.items()
            if id_.startswith(prefix)
        }
