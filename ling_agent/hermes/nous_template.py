"""The template of Hermes 2 Pro and Hermes 3: ChatML, with a prompt of its own for tools.

Each tool is shown with its signature as Python would write it. The template's differences between a
tool result that ends the conversation and one that does not are left out: a result looks as it did
when the model answered it. The token that begins a text depends on the vocabulary, so it is no part
of this either: the tokenizer adds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from .neutralise import escape_json
from .schema import as_mapping
from .template_parts import (
    Message,
    Template,
    Tools,
    calls_of,
    content_of,
    dumps,
    function_of,
    raw_of,
)

_SYSTEM = "You are a helpful assistant."
_TOOLS_HEAD = (
    "You are a function calling AI model. You are provided with function signatures within "
    "<tools></tools> XML tags. You may call one or more functions to assist with the user query. "
    "Don't make assumptions about what values to plug into functions. Here are the available "
    "tools: <tools> "
)
_TOOLS_TAIL = (
    " </tools>Use the following pydantic model json schema for each tool call you will make: "
    '{"properties": {"name": {"title": "Name", "type": "string"}, "arguments": {"title": '
    '"Arguments", "type": "object"}}, "required": ["name", "arguments"], "title": "FunctionCall", '
    '"type": "object"}}\nFor each function call return a json object with function name and '
    "arguments within <tool_call></tool_call> XML tags as follows:\n<tool_call>\n"
    '{"name": <function-name>, "arguments": <args-dict>}\n</tool_call>'
)
_PYTHON = {"string": "str", "number": "float", "integer": "int", "boolean": "bool"}


def _head(first: Message, tools: Tools, safe: str | None) -> str:
    system = _turn("system", first["content"]) if first["role"] == "system" else ""
    if not tools:
        return system or _turn("system", _SYSTEM)
    lines = "\n".join(_tool_line(tool, safe) for tool in tools)
    return _turn("system", f"{_TOOLS_HEAD}{lines}{_TOOLS_TAIL}") + system


def _turn(role: str, text: str) -> str:
    return f"<|im_start|>{role}\n{text}<|im_end|>\n"


def _message(message: Message, safe: str | None, thinking: bool, last: bool) -> str:
    role = message["role"]
    if role != "assistant":
        return _turn(role, content_of(message, safe))
    raw = raw_of(message, safe)
    if raw is not None:
        return _turn(role, raw)
    content, calls = content_of(message, safe), calls_of(message, safe)
    return _turn(role, "\n".join([*([content] if content or not calls else []), *calls]))


def _tool_line(tool: Mapping[str, Any], safe: str | None) -> str:
    """One tool; its text is not escaped as JSON is, for the template does not."""
    function = function_of(tool)
    parameters = as_mapping(function.get("parameters"))
    properties = as_mapping(parameters.get("properties"))
    name = cast("str", function["name"])
    signature = ", ".join(f"{key}: {_type(spec)}" for key, spec in properties.items())
    text = f"{name}({signature}){_returns(function)} - {function.get('description') or ''}\n\n"
    if properties:
        text += "    Args:\n" + "".join(map(_argument, properties.items()))
    returned = as_mapping(function.get("return")).get("description")
    if returned is not None:
        text += f"\n    Returns:\n        {returned}"
    shown = dumps(parameters) if properties else "{}"
    line = (
        f'{{"type": "function", "function": {{"name": "{name}", "description": "{text}", '
        f'"parameters": {shown}}}'
    )
    return escape_json(line, safe) if safe else line


def _argument(item: tuple[str, object]) -> str:
    name, spec = item
    description = str(as_mapping(spec).get("description") or "").strip()
    return f"        {name}({_type(spec)}): {description}"


def _returns(function: Mapping[str, Any]) -> str:
    return f" -> {_type(function['return'])}" if "return" in function else ""


def _type(spec: object, depth: int = 0) -> str:
    """A schema as a Python type, with the template's own quirks: a list of anything is a union of
    nothing. Types that it fails on, such as ``null``, are ``Any``."""
    schema = as_mapping(spec)
    kind = schema.get("type")
    if isinstance(kind, str):
        if kind == "array":
            return "list[Union[]]"
        if kind == "object":
            if "additionalProperties" not in schema or depth > 32:
                return "dict"
            return f"dict[str, {_type(schema['additionalProperties'], depth + 1)}]"
        return _PYTHON.get(kind, "Any")
    kinds = cast("list[object]", kind) if isinstance(kind, list) else []
    return f"Union[{','.join(_type({'type': each}) for each in kinds)}]"


HERMES = Template(_head, _message, ("<|im_start|>tool", "<|im_end|>"), "<|im_start|>assistant\n")
