"""What a server's chat template must not take for its own words, in the parts that nobody escapes.

Templates paste tools and what the assistant said as they are. A model can be talked into spelling a
special token out, and a tool server can write one into a description: in the next prompt either
would end a turn. User and tool text is broken where it is written (`chat_messages`).
"""

from __future__ import annotations

import dataclasses
import re

from ...hermes import neutralise
from ...hermes.neutralise import neutralise_json
from ...messages import AssistantMessage, Message, ToolCall, ToolMessage
from ..base import ModelRequest
from .jsons import write_json

# A bracket that may begin a word; those of JSON's own arrays do not. Far faster than to look at
# each text, and most tools have none.
_SUSPICIOUS = re.compile(rb"<|\[[^\"{\[\]\s\d-]")


def harmless_message(message: Message, template: str) -> Message:
    """The message with the words of the template broken; the same object when it holds none."""
    match message:
        case AssistantMessage(content, reasoning, calls):
            safe = dataclasses.replace(
                message,
                content=neutralise(content, template),
                reasoning=reasoning and neutralise(reasoning, template),
                calls=tuple(_call(call, template) for call in calls),
            )
        case ToolMessage(_, name):
            safe = dataclasses.replace(message, name=neutralise(name, template))
        case _:
            return message
    return message if safe == message else safe


def harmless_tools(request: ModelRequest, template: str) -> ModelRequest:
    """The request with such words broken in its tools; the same object when they hold none.

    Names of parameters and listed values are changed, too: a call that needs such a one does not
    fit its schema any more, and the model is told so.
    """
    if not _SUSPICIOUS.search(write_json(list(request.tools))):
        return request
    safe = neutralise_json(request.tools, template)
    return request if safe is request.tools else dataclasses.replace(request, tools=tuple(safe))


def _call(call: ToolCall, template: str) -> ToolCall:
    arguments = neutralise_json(call.arguments, template)
    return dataclasses.replace(call, name=neutralise(call.name, template), arguments=arguments)
