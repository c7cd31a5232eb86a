"""The conversation's own types: what was said, by whom, in order. No vendor type is used.

A message is immutable and is stored once; a prompt is rendered from a sequence of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A complete, parsed call that the model made.

    Attributes:
        id: Unique within the run, for example ``call_2_0`` (step 2, first call).
        name: Name of a declared tool.
        arguments: The arguments as JSON types.
        repairs: Names of the repairs that reading the call took; empty when it was well-formed.
    """

    id: str
    name: str
    arguments: dict[str, Any]
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SystemMessage:
    """Instructions; at most one, and first."""

    content: str


@dataclass(frozen=True, slots=True)
class UserMessage:
    """The task, or a note from the loop to the model."""

    content: str


@dataclass(frozen=True, slots=True)
class AssistantMessage:
    """What the model wrote.

    Attributes:
        content: Visible text, without calls and reasoning.
        reasoning: Text of its ``<think>`` block, if any.
        calls: The calls that were read from it.
        raw: The exact text that was generated, when the backend renders prompts itself: later
            prompts repeat it byte for byte, so that the prefix cache stays valid.
    """

    content: str
    reasoning: str | None = None
    calls: tuple[ToolCall, ...] = ()
    raw: str | None = None


@dataclass(frozen=True, slots=True)
class ToolMessage:
    """One observation: the text that answers one call."""

    call_id: str
    name: str
    content: str
    is_error: bool = False


Message = SystemMessage | UserMessage | AssistantMessage | ToolMessage


def to_openai(message: Message) -> dict[str, Any]:
    """The message as an OpenAI-style mapping, the form that `ling_agent.hermes.render` takes."""
    match message:
        case SystemMessage(content):
            return {"role": "system", "content": content}
        case UserMessage(content):
            return {"role": "user", "content": content}
        case ToolMessage(call_id, name, content):
            return {"role": "tool", "tool_call_id": call_id, "name": name, "content": content}
        case AssistantMessage(content, reasoning, calls, raw):
            data: dict[str, Any] = {"role": "assistant", "content": content}
            if reasoning:
                data["reasoning_content"] = reasoning
            if calls:
                data["tool_calls"] = [_call_to_openai(call) for call in calls]
            if raw is not None:
                data["raw"] = raw
            return data


def _call_to_openai(call: ToolCall) -> dict[str, Any]:
    function: Mapping[str, Any] = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}
