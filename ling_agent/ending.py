"""`Ending`: how a run ends, in its log and in its result."""

from __future__ import annotations

import dataclasses
from typing import Any

from . import hermes
from .errors import BackendError, HermesError, LingAgentError, StoreError, Vetoed
from .ledger import Ledger
from .memory import Trajectory
from .messages import ToolCall
from .results import ContextUse, Plan, RunResult, RunStatus
from .resuming import steps_taken
from .sending import Sender
from .setup import RunSetup


class Ending:
    """Takes the end of one run; an error counts also when the run had ended otherwise.

    Args:
        setup: Whether the answer is text, and what must not be written down.
        trajectory: The log, which is told of every end but completion.
        sender: What there is of a message that did not become one.
        ledger: The step.

    Attributes:
        status: How the run has ended; None before.
        output: Its answer.
        error: Why it failed.
    """

    def __init__(
        self, setup: RunSetup, trajectory: Trajectory, sender: Sender, ledger: Ledger
    ) -> None:
        self._setup = setup
        self._text = setup.answer.is_text
        self._trajectory = trajectory
        self._sender = sender
        self._ledger = ledger
        self.status: RunStatus | None = None
        self.output: Any = None
        self.error: LingAgentError | None = None

    def end(self, status: RunStatus) -> None:
        """End the run; what there is of an answer is kept."""
        self.status = status
        if status is RunStatus.completed:
            return
        partial = "" if self._is_kept else self._sender.partial
        if self.output is None and self._text:
            self.output = self._sender.said or None
        step = self._ledger.step
        self._trajectory.append("limit", step=step, status=str(status), partial=partial)

    @property
    def _is_kept(self) -> bool:
        """Whether what there is of the newest message is in the log as one."""
        for entry in reversed(self._trajectory):
            if entry.kind in ("assistant", "task"):
                return "broken_off" in entry.data and entry.step == self._ledger.step
        return False

    def fail(self, error: Exception) -> None:
        """End the run with an error.

        Raises:
            Exception: The same, when it is none of those that a run may end with, or nothing was
                done that a result could keep.
        """
        if isinstance(error, hermes.HermesError):
            error = HermesError(str(error))  # its own class: that package imports none of ours
        if not isinstance(error, BackendError | HermesError | StoreError | Vetoed):
            raise error
        kinds = {entry.kind for entry in self._trajectory.newest_task()}
        if not kinds & {"plan", "assistant", "usage"} and not self._sender.partial:
            raise error
        self._setup.redact_error(error)
        self.error = error
        self._trajectory.append(
            "error", step=self._ledger.step, type=type(error).__name__, text=str(error)
        )
        self.end(RunStatus.failed)

    def result(
        self,
        run_id: str,
        *,
        plan: Plan | None,
        pending: tuple[ToolCall, ...],
        context: ContextUse | None,
        seconds: float,
    ) -> RunResult[Any]:
        """What the run leaves behind.

        Args:
            run_id: Its name.
            plan: The newest one.
            pending: Calls that wait for a decision, if that ended it.
            context: How full the window is.
            seconds: How long it took.
        """
        status = self.status or RunStatus.cancelled
        return RunResult(
            output=self.output,
            status=status,
            plan=plan,
            steps=steps_taken(self._trajectory, self._ledger.by_step),
            usage=dataclasses.replace(self._ledger.usage, seconds=seconds),
            trajectory=self._trajectory,
            run_id=run_id,
            error=self.error,
            pending_approvals=pending if status is RunStatus.needs_approval else (),
            notes=tuple(self._sender.notes),
            context=context,
        )
