"""`PlanKeeper`: the plan of one run while it is made, carried out and replaced."""

from __future__ import annotations

from . import planning
from .events import Emit, PlanMade, PlanUpdated
from .memory import Trajectory
from .planning import Planning
from .results import Plan
from .resuming import last_plan

_MAX_REVISIONS = 3


class PlanKeeper:
    """Holds the newest plan, writes it into the log, and tells of its changes.

    Args:
        mode: How the run plans.
        trajectory: The log; a resumed run's has its plan.
        emit: Takes the events.

    Attributes:
        now: The plan; None while there is none.
    """

    def __init__(self, mode: Planning, trajectory: Trajectory, emit: Emit) -> None:
        self._mode = mode
        self._trajectory = trajectory
        self._emit = emit
        self.now: Plan | None = last_plan(trajectory)

    async def adopt(self, step: int, text: str) -> None:
        """Make a text of the model the plan; it replaces the plan that there was.

        Args:
            step: The model request that it is part of.
            text: As it was written.
        """
        revision = 0 if self.now is None else self.now.revision + 1
        plan = planning.parse_plan(text, revision=revision)
        if plan is None or self._mode == "off":
            return
        self.now = plan
        self._trajectory.append(
            "plan",
            step=step,
            text=plan.text,
            steps=[item.text for item in plan.steps],
            revision=plan.revision,
        )
        await self._emit(PlanMade(plan))

    async def advance(self) -> bool:
        """Take the next step as done; whether the plan is carried out with it."""
        before = self.now
        if before is None or planning.is_done(before):
            return False
        self.now = planning.advance(before)
        await self._emit(PlanUpdated(self.now))
        return planning.is_done(self.now)

    @property
    def revisable(self) -> bool:
        """Whether an observation may replace the plan."""
        known = self.now is not None and self.now.revision < _MAX_REVISIONS
        return self._mode == "explicit" and known

    def finish(self) -> None:
        """The run has completed: what is still pending was not needed."""
        if self.now is not None:
            self.now = planning.finish(self.now)
