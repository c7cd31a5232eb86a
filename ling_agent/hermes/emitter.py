"""Turns what the parser found into events: white-space policy, block numbers, the first of each id.

White space: text is passed on as it is, except that white space next to something that was removed
(a call, a reasoning block, a special token) is dropped where it would stand at the very start or
the very end of the content. Reasoning is stripped at both ends; several blocks are joined by a line
break. Held white space is the only thing that is held back here. Where a removal would join two
pieces of text into a special token, a space keeps them apart.
"""

from __future__ import annotations

import json
from typing import Any

from .calls import Good, Outcome, encodable
from .tags import ends_in_control
from .types import (
    ArgumentsDelta,
    CallFailed,
    CallParsed,
    CallStarted,
    FailureKind,
    ParserEvent,
    ReasoningDelta,
    TextDelta,
)

_TAIL = 32


def call_id(index: int) -> str:
    """The id of a block: deterministic, unique within one message."""
    return f"call_{index}"


class Emitter:
    """Collects the events of one message.

    Attributes:
        events: Events not yet handed out.
        visible: Whether any visible text came out.
        last: The last character of the visible text so far, white space included; "" at first.
        blocks: Number of call blocks so far, failed ones included.
        has_calls: Whether a call block was seen (complete or not).
    """

    __slots__ = (
        *("_held", "_removed", "_seam", "_tail", "_thought", "_thought_held", "blocks", "events"),
        *("has_calls", "last", "reasoned", "visible"),
    )

    def __init__(self) -> None:
        self.events: list[ParserEvent] = []
        self.visible = False
        self.reasoned = False
        self.last = ""
        self.blocks = 0
        self.has_calls = False
        self._held: list[str] = []
        self._removed = False
        self._tail = ""  # the end of the visible text, long enough for the start of any token
        self._seam = False  # text was removed behind such a start
        self._thought = False  # the current reasoning block has shown something
        self._thought_held: list[str] = []

    def take(self) -> list[ParserEvent]:
        events = self.events
        self.events = []
        return events

    @property
    def pristine(self) -> bool:
        """Nothing but white space and reasoning so far: the message could still be a bare call."""
        return not self.visible and not self.has_calls

    def text(self, text: str) -> None:
        """Visible text."""
        if not text:
            return
        if self._seam:
            text = f" {text}"
            self._seam = False
        self.last = text[-1]
        self._tail = text[-_TAIL:] if len(text) >= _TAIL else (self._tail + text)[-_TAIL:]
        body = text.rstrip()
        if not body:
            self._held.append(text)
            return
        tail = text[len(body) :]
        if self._removed and not self.visible:
            body = body.lstrip()
        elif self._held:
            body = "".join(self._held) + body
        self._held = [tail] if tail else []
        self._removed = False
        self.visible = True
        self.events.append(TextDelta(body))

    def removed(self) -> None:
        """Something that is not content stood here."""
        self._removed = True
        self.last = ""
        self._seam = self._seam or ends_in_control(self._tail)

    def open_reasoning(self) -> None:
        self.removed()
        self._thought = False
        self._thought_held = []
        if not self.reasoned:
            self.events.append(ReasoningDelta(""))

    def reasoning(self, text: str) -> None:
        """Text inside a reasoning block."""
        body = text.rstrip()
        if not body:
            if self._thought:
                self._thought_held.append(text)
            return
        tail = text[len(body) :]
        if not self._thought:
            body = body.lstrip()
            body = f"\n{body}" if self.reasoned else body
        self._thought, self.reasoned = True, True
        body = "".join(self._thought_held) + body
        self._thought_held = [tail] if tail else []
        self.events.append(ReasoningDelta(body))

    def next_index(self) -> int:
        """Number a new block."""
        self.has_calls = True
        self.blocks += 1
        return self.blocks - 1

    def started(self, index: int, name: str) -> None:
        self.events.append(CallStarted(index, call_id(index), encodable(name)))

    def arguments(self, index: int, text: str) -> None:
        self.events.append(ArgumentsDelta(index, text))

    def outcome(
        self, index: int, outcome: Outcome, raw: str, *, started: bool = False, shown: bool = False
    ) -> None:
        """A finished block: its call, with the deltas that were not yet shown, or its failure."""
        if not isinstance(outcome, Good):
            self.failed(index, outcome.kind, raw, outcome.message, outcome.name)
            return
        if not started:
            self.started(index, outcome.name)
        if not shown:
            self.arguments(index, _shown(outcome.arguments))
        call = CallParsed(
            index, call_id(index), outcome.name, outcome.arguments, tuple(outcome.repairs)
        )
        self.events.append(call)

    def failed(
        self, index: int, kind: FailureKind, raw: str, message: str, name: str | None = None
    ) -> None:
        name = None if name is None else encodable(name)
        self.events.append(CallFailed(index, kind, raw, encodable(message), name))

    def finish(self) -> None:
        """The message has ended: white space that ends plain text belongs to it."""
        if self._held and not self._removed:
            self.events.append(TextDelta("".join(self._held)))
        self._held = []


def _shown(arguments: dict[str, Any]) -> str:
    return json.dumps(arguments, ensure_ascii=False)
