"""`Logbook`: what a run writes into its log besides its calls and its end."""

from __future__ import annotations

import dataclasses
from typing import Any

from .context import Context
from .ledger import Ledger
from .memory import Trajectory
from .memory.window import bytes_of
from .messages import AssistantMessage, UserMessage
from .observe import Observer
from .sending import Sender
from .turn import Turn


class Logbook:
    """Writes the model's messages and the notes to it; tells those who have to know.

    Args:
        trajectory: The log.
        context: Learns from what requests have cost, and knows the size of a text.
        sender: Charges them.
        observer: Is told when the message that its calls belong to is written.
        ledger: The step.
    """

    def __init__(
        self,
        trajectory: Trajectory,
        context: Context,
        sender: Sender,
        observer: Observer,
        ledger: Ledger,
    ) -> None:
        self._trajectory = trajectory
        self._context = context
        self._sender = sender
        self._observer = observer
        self._ledger = ledger
        self._answered = False  # so that long runs need not look for it

    @property
    def first(self) -> bool:
        """Whether the next message is the task's first."""
        return not self._answered and not any(
            entry.kind == "assistant" for entry in self._trajectory.newest_task()
        )

    def turn(self, turn: Turn) -> None:
        """Write a whole message of the model; what its calls have done is kept from here on."""
        failures = [dataclasses.asdict(failure) for failure in turn.failures.values()]
        data: dict[str, Any] = {"failures": failures} if failures else {}
        step, tokens = self._ledger.step, turn.usage.completion_tokens or None
        self._trajectory.append("assistant", turn.message, step=step, tokens=tokens, **data)
        self._answered = True
        self._sender.charge(turn.usage)
        self._context.learn(turn.usage)
        self._observer.written(step)

    def broken_off(self, message: AssistantMessage) -> None:
        """Write a message that did not come to its end."""
        step = self._ledger.step
        self._trajectory.append("assistant", message, step=step, broken_off=True)
        self._observer.written(step)

    def keep_calls(self, said: str) -> None:
        """Write a message that broke off behind calls that began, if it did.

        Args:
            said: Its text.
        """
        if calls := self._observer.offered:
            self.broken_off(AssistantMessage(said, calls=calls))

    def note(self, text: str) -> None:
        """Write a note to the model."""
        tokens = self._context.tokens(bytes_of(text))
        step = self._ledger.step
        self._trajectory.append("note", UserMessage(text), step=step, tokens=tokens)

    def was_noted(self, text: str) -> bool:
        """Whether this note is the newest message: an earlier run ended right behind it."""
        return self._trajectory.last_message == UserMessage(text)
