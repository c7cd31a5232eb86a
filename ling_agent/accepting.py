"""`Acceptance`: whether a message of the model is taken, and whether its answer is the run's."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .answers import AnswerError, AnswerSpec
from .backends.base import ToolChoice
from .errors import ConfigurationError, LingAgentError
from .hooks import AfterModel, BeforeAnswer, Hooks, Veto
from .planning import PlanSplitter
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


async def let_through(
    moment: BeforeAnswer, hooks: Hooks, answer: AnswerSpec[Any], redact: Callable[[str], str]
) -> Accepted | Refused:
    """An output as hooks leave it.

    Raises:
        ConfigurationError: One has put something of another type in its place.
    """
    if BeforeAnswer not in hooks:
        return Accepted(moment.output)
    after = await hooks.call(moment)
    if isinstance(after, Veto):
        return Refused(redact(after.reason))
    if not answer.holds(after.output):
        what = "a text" if answer.is_text else "of the agent's output_type"
        raise ConfigurationError(f"a hook: the output of BeforeAnswer must be {what}")
    return Accepted(redact(after.output) if answer.is_text else after.output)


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
            message=copy.deepcopy(turn.message),  # nobody changes what the model has written
            usage=turn.usage,
        )
        after = await self._setup.hooks.call(moment)
        return self._setup.redact(after.reason) if isinstance(after, Veto) else None

    async def accept(self, text: str, step: int) -> Accepted | Refused:
        """Read an answer and let hooks look at it."""
        try:
            output: Any = self._setup.answer.read(text)
        except AnswerError as error:
            if self._repaired or not self._setup.limits.max_corrections:
                return Refused("", error=error)
            self._repaired = True
            return Refused(_repair(error), choice="none")
        moment = BeforeAnswer(run_id=self._run_id, step=step, deps=self._setup.deps, output=output)
        return await let_through(moment, self._setup.hooks, self._setup.answer, self._setup.redact)

    def mistake(self, text: str) -> str | None:
        """What to tell the model about an answer that ended an earlier run; None for nothing."""
        splitter = PlanSplitter()  # the plan in front of it is no part of the answer
        try:
            self._setup.answer.read((splitter.feed(text) + splitter.finish()).strip())
        except AnswerError as error:
            return _repair(error)
        return None


def _repair(error: AnswerError) -> str:
    return (
        f"Your answer does not have the form that was asked for:\n{error.message}\nWrite it again."
    )
