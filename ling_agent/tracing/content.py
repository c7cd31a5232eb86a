"""Messages, tools and results as OpenTelemetry's conventions write them; only with content on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..messages import (
    AssistantMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)

if TYPE_CHECKING:
    from ..backends.base import ModelRequest

Part = dict[str, Any]


def of_request(request: ModelRequest) -> dict[str, str]:
    """What a model is given: instructions, messages, tools, each as JSON text."""
    messages: list[Part] = []
    found: dict[str, str] = {}
    for message in request.messages:
        if isinstance(message, SystemMessage):
            found["gen_ai.system_instructions"] = dumped([_text(message.content)])
        else:
            messages.append(_message(message))
    found["gen_ai.input.messages"] = dumped(messages)
    if request.tools:
        found["gen_ai.tool.definitions"] = dumped([_definition(tool) for tool in request.tools])
    return found


def of_answer(message: AssistantMessage, finish_reason: str) -> dict[str, str]:
    """What a model answered, as JSON text."""
    return {
        "gen_ai.output.messages": dumped([_message(message) | {"finish_reason": finish_reason}])
    }


def of_task(task: str) -> dict[str, str]:
    """What a run is asked."""
    return {"gen_ai.input.messages": dumped([{"role": "user", "parts": [_text(task)]}])}


def of_output(output: object, status: str) -> dict[str, str]:
    """What a run answered; an answer that is no text is shown as JSON."""
    text = output if isinstance(output, str) else dumped(output)
    reason = "stop" if status == "completed" else status
    message = {"role": "assistant", "parts": [_text(text)], "finish_reason": reason}
    return {"gen_ai.output.messages": dumped([message])}


def dumped(value: object) -> str:
    """JSON text; what JSON cannot hold is shown as its `str`, as a trace must not fail."""
    return json.dumps(value, ensure_ascii=False, default=str)


def of_arguments(arguments: Mapping[str, Any]) -> dict[str, str]:
    """What a tool is called with."""
    return {"gen_ai.tool.call.arguments": dumped(dict(arguments))}


def of_observation(text: str) -> dict[str, str]:
    """What the model reads of a tool's result."""
    return {"gen_ai.tool.call.result": text}


def _text(content: str) -> Part:
    return {"type": "text", "content": content}


def _message(message: Message) -> Part:
    match message:
        case ToolMessage(call_id, _, content):
            part = {"type": "tool_call_response", "id": call_id, "response": content}
            return {"role": "tool", "parts": [part]}
        case AssistantMessage():
            return {"role": "assistant", "parts": _answer_parts(message)}
        case SystemMessage(content):
            return {"role": "system", "parts": [_text(content)]}
        case UserMessage(content):
            return {"role": "user", "parts": [_text(content)]}


def _answer_parts(message: AssistantMessage) -> list[Part]:
    parts: list[Part] = []
    if message.reasoning:
        parts.append({"type": "reasoning", "content": message.reasoning})
    if message.content:
        parts.append(_text(message.content))
    return [*parts, *map(_call, message.calls)]


def _call(call: ToolCall) -> Part:
    return {"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments}


def _definition(tool: Mapping[str, Any]) -> Part:
    """An OpenAI tool object without its outer layer."""
    return {"type": "function", **dict(tool.get("function") or tool)}
