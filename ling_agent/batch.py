"""`Batch`: the calls of one message and what is known of them; `Observed`: what came of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from .errors import StoreError
from .hermes import CallFailed
from .memory.trajectory import Block
from .messages import ToolCall, ToolMessage
from .results import RunStatus

_CALL_TEXT = 200  # characters


@dataclass(frozen=True, slots=True)
class Observed:
    """What came of one message's calls.

    Attributes:
        observations: In call order.
        any_valid: Whether at least one was a valid call, whatever came of it.
        repeated: Whether a call was answered with a reminder instead of being run.
        status: Why the run ends here, or None.
    """

    observations: tuple[ToolMessage, ...]
    any_valid: bool
    repeated: bool = False
    status: RunStatus | None = None


@dataclass(slots=True)
class Batch:
    """The calls of one message.

    Attributes:
        step: Model request that they belong to.
        begun: Ids of those that had begun when this run went on with the message.
        blocks: Those that are answered or run, by id, readable or not.
        answers: The observations so far, by call id.
        started: Ids of the calls that were started.
        rejected: Ids of the calls that did not fit their tool and never ran.
        unused: How many were counted as calls that run and did not.
        waiting: Calls that wait for a decision, or whose sub-agents' calls do.
        written: Whether their message is in the log.
        repeated: Whether a call was one that had been made before.
        status: Why the calls after them are not answered, or why the run ends with them.
        error: Why a call could not be written down, before it ran or after.
        failure: An exception of a hook.
    """

    step: int
    begun: set[str] = field(default_factory=set[str])
    blocks: dict[str, Block] = field(default_factory=dict[str, Block])
    answers: dict[str, ToolMessage] = field(default_factory=dict[str, ToolMessage])
    started: set[str] = field(default_factory=set[str])
    rejected: set[str] = field(default_factory=set[str])
    unused: int = 0
    waiting: dict[str, ToolCall] = field(default_factory=dict[str, ToolCall])
    written: bool = False
    repeated: bool = False
    status: RunStatus | None = None
    error: StoreError | None = None
    failure: Exception | None = None

    @property
    def any_valid(self) -> bool:
        """Whether at least one was a call that fits its tool, or there was none."""
        calls = {id_ for id_, block in self.blocks.items() if isinstance(block, ToolCall)}
        return not self.blocks or bool(calls - self.rejected)

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """Those that could be read and are answered or run, in call order."""
        return tuple(b for b in self.blocks.values() if isinstance(b, ToolCall))

    def observed(self) -> Observed:
        """What came of them."""
        answers = tuple(self.answers[id_] for id_ in self.blocks if id_ in self.answers)
        return Observed(answers, self.any_valid, self.repeated, self.status)


def call_text(call: ToolCall) -> str:
    """A call as text, for search and for the lines that stand in place of its result."""
    text = f"{call.name}({json.dumps(call.arguments, ensure_ascii=False)})"
    return text if len(text) <= _CALL_TEXT else text[: _CALL_TEXT - 1] + "…"


def failure_answer(id_: str, failure: CallFailed) -> ToolMessage:
    """What the model reads of a call that could not be."""
    return ToolMessage(id_, failure.name or "", f"Error: {failure.message}", True)
