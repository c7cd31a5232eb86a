"""Notices a model that makes the same call again and again."""

from __future__ import annotations

import json
from dataclasses import dataclass

from .messages import ToolCall


@dataclass(slots=True)
class _Seen:
    """One call: how often it came, since when nothing new was called, when it was last made."""

    news: int
    step: int
    made: int
    count: int = 1
    observation: str | None = None


@dataclass(frozen=True, slots=True)
class Repetition:
    """A call that was made before.

    Attributes:
        observation: What the model has read of it; None while it has not read anything, because
            both stand in one message.
        at_limit: Whether the limit is reached with it.
    """

    observation: str | None
    at_limit: bool


class RepeatGuard:
    """Counts identical calls between which nothing new was called.

    A call that is repeated after a different, new call runs again: its result may have changed. The
    same call with nothing new in between cannot tell the model anything that it was not told.
    Repetitions within one message count once: the model has not read the reminder yet.

    Args:
        limit: The repetition with which the limit is reached; the first call counts as one.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._news = 0
        self._seen: dict[str, _Seen] = {}

    def note(self, call: ToolCall, step: int, *, refused: bool = False) -> Repetition | None:
        """Register a call that is about to run, or that was refused.

        Args:
            call: What the model asked for.
            step: Number of the message that it is part of.
            refused: Whether it does not run. The same call may the next time: that is another one.

        Returns:
            What it repeats; None when it is new.
        """
        key = f"refused {_key(call)}" if refused else _key(call)
        seen = self._seen.get(key)
        if seen is None:
            self._news += 1
        if seen is None or seen.news != self._news:
            self._seen[key] = _Seen(self._news, step, made=step)
            return None
        if seen.step != step:
            seen.step = step
            seen.count += 1
        # A call may have ended while its message is still written: nobody has read that.
        known = seen.observation if seen.made != step else None
        return Repetition(known, seen.count >= self._limit)

    def observed(self, call: ToolCall, observation: str) -> None:
        """Keep the observation for reminders."""
        self._seen[_key(call)].observation = observation


def reminder(name: str, earlier: str | None) -> str:
    """What the model reads in place of a repeated call's result."""
    if earlier is None:
        return f"{name} was called twice with the same arguments; see the other result."
    return (
        f"You already called {name} with these arguments and nothing has changed. Its result was:\n"
        f"{earlier}\nAnswer the user with it, or call something else."
    )


def _key(call: ToolCall) -> str:
    return f"{call.name} {json.dumps(call.arguments, sort_keys=True, ensure_ascii=False)}"
