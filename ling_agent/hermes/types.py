"""What the parser yields: deltas for display, calls to execute, failures to tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

FailureKind = Literal[
    "arguments_not_object",
    "empty_tool_call",
    "hallucinated_tool_response",
    "hallucinated_turn",
    "incomplete_tool_call",
    "invalid_json",
    "missing_name",
    "not_a_call_object",
    "too_deep",
    "unknown_tool",
]
"""Why a block is no call; `docs/hermes.md` says what each one means and what to do about it."""


class HermesError(ValueError):
    """A conversation that cannot be rendered in the wire format; the message is one line."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Visible text; all of them joined are `ParsedMessage.content`."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """Text from inside `<think>`; all of them joined are `ParsedMessage.reasoning`."""

    text: str


@dataclass(frozen=True, slots=True)
class CallStarted:
    """The name of a call is known; it may still fail. For display only."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ArgumentsDelta:
    """A piece of the arguments exactly as the model writes them. For display only."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class CallParsed:
    """A complete call: the only event that may be executed.

    Attributes:
        index: Number of the block in the message, from 0; failed blocks are counted too.
        id: Deterministic id, `call_<index>`; unique within the message only.
        name: Name of the tool, a declared one when tools were given.
        arguments: The decoded arguments.
        repairs: Names of the repairs that were needed, in the order in which they were applied.
    """

    index: int
    id: str
    name: str
    arguments: dict[str, Any]
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CallFailed:
    """A block that is no call.

    Attributes:
        index: Number of the block in the message, shared with `CallParsed.index`.
        kind: What is wrong.
        raw: The block's text without its tags.
        message: One line that the model can act on.
        name: Name of the tool as far as it could be read, else None.
    """

    index: int
    kind: FailureKind
    raw: str
    message: str
    name: str | None = None


ParserEvent = TextDelta | ReasoningDelta | CallStarted | ArgumentsDelta | CallParsed | CallFailed


@dataclass(frozen=True, slots=True)
class ParsedCall:
    """One executable call of a message; the fields are those of `CallParsed`."""

    index: int
    id: str
    name: str
    arguments: dict[str, Any]
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """A whole model message, taken apart.

    Attributes:
        content: Visible text without call blocks, reasoning, special tokens and role tags.
        reasoning: Text of the `<think>` blocks, or None when there was none.
        calls: The complete calls in the order in which they were written.
        errors: The blocks that are no calls, in the same order.
    """

    content: str
    reasoning: str | None = None
    calls: list[ParsedCall] = field(default_factory=list[ParsedCall])
    errors: list[CallFailed] = field(default_factory=list[CallFailed])
