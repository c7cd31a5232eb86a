"""Conversations as messages of OpenAI's chat API, out and in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from ..errors import ConfigurationError
from ..messages import (
    AssistantMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
    to_openai,
)

if TYPE_CHECKING:
    from .trajectory import Trajectory


def to_openai_messages(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Messages as OpenAI's API takes them: arguments are JSON text, no raw text is repeated."""
    return [_standard(to_openai(message)) for message in messages]


def _standard(data: dict[str, Any]) -> dict[str, Any]:
    data.pop("raw", None)
    for call in data.get("tool_calls", ()):
        arguments = call["function"]["arguments"]
        text = json.dumps(arguments, ensure_ascii=False)
        call["function"] = {**call["function"], "arguments": text}
    return data


def from_openai_messages(
    trajectory: Trajectory, messages: Iterable[Mapping[str, Any]]
) -> Trajectory:
    """Write messages into an empty trajectory; each assistant message is a step.

    Raises:
        ConfigurationError: A message that is none.
    """
    names: dict[str, str] = {}
    step = 0
    for number, data in enumerate(messages):
        try:
            message = _read(data, names)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise ConfigurationError(f"message {number}: {why}") from None
        match message:
            case SystemMessage():
                trajectory.append("instructions", message)
            case UserMessage(content):
                trajectory.append("task", message, task=content)
            case AssistantMessage(calls=calls):
                step += 1
                names.update((call.id, call.name) for call in calls)
                trajectory.append("assistant", message, step=step)
            case ToolMessage():
                trajectory.append("observation", message, step=step)
    return trajectory


def _read(data: Mapping[str, Any], names: Mapping[str, str]) -> Message:
    role = data["role"]
    text = _text(data.get("content"))
    match role:
        case "system" | "developer":
            return SystemMessage(text)
        case "user":
            return UserMessage(text)
        case "assistant":
            calls = tuple(_call(call) for call in data.get("tool_calls") or ())
            reasoning = data.get("reasoning_content") or data.get("reasoning")
            return AssistantMessage(text, reasoning, calls)
        case "tool":
            id_ = data["tool_call_id"]
            return ToolMessage(id_, data.get("name") or names.get(id_, ""), text)
        case _:
            raise ValueError(f"role {role!r} is none of system, user, assistant and tool")


def _text(content: object) -> str:
    """A content that is text, or a list of text parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise TypeError("content must be text or a list of parts")
    texts: list[str] = []
    for part in cast("list[Any]", content):
        if not isinstance(part, Mapping) or part.get("type") != "text":  # pyright: ignore[reportUnknownMemberType]
            raise TypeError("only parts of type 'text' can be read")
        texts.append(cast("str", part["text"]))
    return "".join(texts)


def _call(data: Mapping[str, Any]) -> ToolCall:
    function = data["function"]
    arguments: Any = function.get("arguments") or {}
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    if not isinstance(arguments, dict):
        raise TypeError(f"arguments of {function['name']} must be a JSON object")
    return ToolCall(data["id"], function["name"], cast("dict[str, Any]", arguments))
