"""What the templates share: what a template is, calls in both dialects, results, the tools' lines.

A call is written in one of two dialects: as a JSON object, or as its name with ``<arg_key>`` and
``<arg_value>`` (Ling 3.0 and Ring-2.6-1T). The parser reads both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from .neutralise import escape_json, neutralise, neutralise_generated
from .schema import as_list, as_mapping
from .types import HermesError

Message = Mapping[str, Any]
Tools = Sequence[Mapping[str, Any]]
Dialect = Literal["json", "arg_key"]

TOOLS_HEAD = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
TOOLS_TAIL = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments "
    'within <tool_call></tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, '
    '"arguments": <args-json-object>}\n</tool_call>'
)


@dataclass(frozen=True, slots=True)
class Template:
    """How one family's prompts are written.

    ``safe`` is the name of the template whose words are broken in the text, or None for none.

    Attributes:
        head: What stands in front of the messages: takes the first message, which is part of it
            when it is the system's, the tools and ``safe``.
        message: The turn of a message that is no tool result: takes the message, ``safe``, whether
            reasoning is shown, and whether it is the last message.
        results: What begins and what ends a turn of tool results.
        answer: The header of the next assistant turn. A message that carries its generated text
            (``raw``) begins with exactly this.
    """

    head: Callable[[Message, Tools, str | None], str]
    message: Callable[[Message, str | None, bool, bool], str]
    results: tuple[str, str]
    answer: str


def render_call(name: str, arguments: Mapping[str, Any], *, dialect: Dialect = "json") -> str:
    """One call as the model writes it, tags included.

    Args:
        name: Of the tool.
        arguments: Its arguments.
        dialect: ``json``, or ``arg_key``: `<tool_call>name`, then a key and a value for each.

    Raises:
        HermesError: The arguments are not JSON.
    """
    if dialect == "arg_key":
        return arg_key_call(name, arguments, None)
    shown = _json(name, arguments)
    return f'<tool_call>\n{{"name": {dumps(name)}, "arguments": {shown}}}\n</tool_call>'


def render_tool_response(text: str) -> str:
    """One tool result with its tags; `text` is taken as it is."""
    return f"<tool_response>\n{text}\n</tool_response>"


def content_of(message: Message, safe: str | None) -> str:
    """The text of a message; what the system says is trusted."""
    content = cast("str", message.get("content") or "")
    return content if message["role"] == "system" else safe_text(content, safe)


def raw_of(message: Message, safe: str | None) -> str | None:
    """The text that the model generated, if the message carries it."""
    raw = message.get("raw")
    if not isinstance(raw, str):
        return None
    return neutralise_generated(raw, safe) if safe else raw


def function_of(call: object) -> Mapping[str, Any]:
    """The name and arguments of an OpenAI-style call, or of a bare one."""
    outer = as_mapping(call)
    return as_mapping(outer.get("function")) or outer


def calls_of(message: Message, safe: str | None, *, dialect: Dialect = "json") -> list[str]:
    """The calls of a message, each as text."""
    return [_rendered(call, safe, dialect) for call in as_list(message.get("tool_calls"))]


def reasoning_of(message: Message, safe: str | None, *, empty: bool = True) -> tuple[str, str]:
    """Reasoning and content of an assistant message, as the Ling and Qwen3 templates part them.

    Args:
        message: Has ``reasoning_content``, or ``<think>…</think>`` in its content.
        safe: As for `Template`.
        empty: Whether an empty ``reasoning_content`` counts: then the content is all of it.
    """
    content = cast("str", message.get("content") or "")
    reasoning = message.get("reasoning_content")
    if not isinstance(reasoning, str) or not (reasoning or empty):
        reasoning, content = _split_reasoning(content)
    return safe_text(reasoning, safe), safe_text(content, safe)


def _split_reasoning(content: str) -> tuple[str, str]:
    if "</think>" not in content:
        return "", content
    before, after = content.split("</think>")[0], content.split("</think>")[-1]
    return before.rstrip("\n").split("<think>")[-1].lstrip("\n"), after.lstrip("\n")


def safe_text(text: str, safe: str | None) -> str:
    """The text with the format's own words broken, when they are to be."""
    return neutralise(text, safe) if safe else text


def tool_lines(tools: Tools, safe: str | None) -> list[str]:
    """Each tool as one line of JSON, with its line break in front.

    The templates paste descriptions as they are; one that holds `</tools>` or a stop token would
    end the block or the turn, so its `<` is written as an escape, which is the same JSON.
    """
    lines = [dumps(tool) for tool in tools]
    return [f"\n{escape_json(line, safe) if safe else line}" for line in lines]


def dumps(value: object) -> str:
    """JSON as the templates' `tojson` writes it: no ASCII escapes, `", "` and `": "`."""
    return json.dumps(value, ensure_ascii=False)


def arg_key_call(name: str, arguments: Mapping[str, Any], safe: str | None) -> str:
    """One call in the dialect of Ling 3.0: texts as they are, every other value as JSON.

    Raises:
        HermesError: The arguments are not JSON.
    """
    parts = [f"<tool_call>{safe_text(name, safe)}\n"]
    for key, value in arguments.items():
        if isinstance(value, str):
            shown = safe_text(value, safe)
        else:
            shown = _json(name, value)
            shown = escape_json(shown, safe) if safe else shown
        parts.append(f"<arg_key>{safe_text(key, safe)}</arg_key>\n<arg_value>{shown}</arg_value>")
    parts.append("\n</tool_call>")
    return "".join(parts)


def _rendered(call: object, safe: str | None, dialect: Dialect) -> str:
    function = function_of(call)
    arguments = function["arguments"]
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    arguments = cast("Mapping[str, Any]", arguments)
    if dialect == "arg_key":
        return arg_key_call(function["name"], arguments, safe)
    opener, body, closer = render_call(function["name"], arguments).split("\n")
    return f"{opener}\n{escape_json(body, safe) if safe else body}\n{closer}"


def _json(name: str, value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise HermesError(f"the arguments of {name} are not JSON: {error}") from None
