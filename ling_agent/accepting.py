"""`Acceptance`: whether a message of the model is taken, and whether its answer is the run's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .answers import AnswerError
from .backends.base import ToolChoice
from .errors import LingAgentError
from .hooks import AfterModel, BeforeAnswer, Veto
from .setup import RunSetup
from .turn import Turn


@dataclass(frozen=True, slots=True)
class Accepted:
    """The output of the run, of the agent's ``output_type``."""

    output: Any


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer that is none.

    Attributes:
        message: Tells the model why.
        choice: What its next message is to be.
        error: Why it is not asked again; None when it is.
    """

    message: str
    choice: ToolChoice = "auto"
    error: LingAgentError | None = None


class Acceptance:
    """Checks the messages of one run by its hooks and its output type.

    An answer that is not of its type is asked for a second time, once, with the exact errors, and
    held to the type where the backend can.

    Args:
        setup: Output type and hooks.
        run_id: Name of the run.
    """

    def __init__(self, setup: RunSetup, run_id: str) -> None:
        self._setup = setup
        self._run_id = run_id
        self._repaired = False

    async def refused(self, turn: Turn, step: int) -> str | None:
        """Why hooks do not take a message; None when they do."""
        moment = AfterModel(
            run_id=self._run_id,
            step=step,
            deps=self._setup.deps,
            message=turn.message,
            usage=turn.usage,
        )
        after = await self._setup.hooks.call(moment)
        return after.reason if isinstance(after, Veto) else None

    async def accept(self, text: str, step: int) -> Accepted | Refused:
        """Read an answer and let hooks look at it."""
        try:
            output: Any = self._setup.answer.read(text)
        except AnswerError as error:
            if self._repaired:
                return Refused("", error=error)
            self._repaired = True
            return Refused(_repair(error), choice="none")
        if BeforeAnswer not in self._setup.hooks:
            return Accepted(output)
        moment = BeforeAnswer(run_id=self._run_id, step=step, deps=self._setup.deps, output=output)
        after = await self._setup.hooks.call(moment)
        return Refused(after.reason) if isinstance(after, Veto) else Accepted(after.output)

    def mistake(self, text: str) -> str | None:
        """What to tell the model about an answer that ended an earlier run; None for nothing."""
        try:
            self._setup.answer.read(text)
        except AnswerError as error:
            return _repair(error)
        return None


def _repair(error: AnswerError) -> str:
    return (
        f"Your answer does not have the form that was asked for:\n{error.message}\nWrite it again."
    )
