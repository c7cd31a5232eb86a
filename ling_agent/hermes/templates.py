"""The text of the parts of a prompt, by template: its head, each message, the end.

A part depends on nothing but its own message, on whether reasoning is shown, and for tool results
on whether the neighbours are such results too. `render` puts the parts together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from .neutralise import escape_json, neutralise, neutralise_generated
from .schema import as_list, as_mapping
from .types import HermesError

Message = Mapping[str, Any]
Tools = Sequence[Mapping[str, Any]]

_TOOLS_HEAD = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
_TOOLS_TAIL = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments "
    'within <tool_call></tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, '
    '"arguments": <args-json-object>}\n</tool_call>'
)
_QWEN_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."


@dataclass(frozen=True, slots=True)
class Template:
    """How one family's prompts are written.

    ``safe`` is the name of the template whose words are broken in the text, or None for none.

    Attributes:
        head: What stands in front of the messages: takes the first message, which is part of it
            when it is the system's, the tools and ``safe``.
        message: The turn of a message that is no tool result: takes the message, ``safe``, and
            whether reasoning is shown.
        results: What begins and what ends a turn of tool results.
        answer: The header of the next assistant turn.
    """

    head: Callable[[Message, Tools, str | None], str]
    message: Callable[[Message, str | None, bool], str]
    results: tuple[str, str]
    answer: str


def render_call(name: str, arguments: Mapping[str, Any]) -> str:
    """One call as the model writes it, tags included.

    Raises:
        HermesError: The arguments are not JSON.
    """
    try:
        shown = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise HermesError(f"the arguments of {name} are not JSON: {error}") from None
    return f'<tool_call>\n{{"name": {_dumps(name)}, "arguments": {shown}}}\n</tool_call>'


def render_tool_response(text: str) -> str:
    """One tool result with its tags; `text` is taken as it is."""
    return f"<tool_response>\n{text}\n</tool_response>"


def content_of(message: Message, safe: str | None) -> str:
    """The text of a message; what the system says is trusted."""
    content = cast("str", message.get("content") or "")
    return content if message["role"] == "system" else _safe(content, safe)


def function_of(call: object) -> Mapping[str, Any]:
    """The name and arguments of an OpenAI-style call, or of a bare one."""
    outer = as_mapping(call)
    return as_mapping(outer.get("function")) or outer


# -- ling2


def _ling2_head(first: Message, tools: Tools, safe: str | None) -> str:
    parts = ["<role>SYSTEM</role>"]
    if first["role"] == "system":
        parts.append(f"{first['content']}\n")
    if tools:
        parts += [_TOOLS_HEAD, *_tool_lines(tools, safe), _TOOLS_TAIL, "\n"]
    parts.append("detailed thinking off<|role_end|>")
    return "".join(parts)


def _ling2_message(message: Message, safe: str | None, thinking: bool) -> str:
    role = message["role"]
    if role == "assistant":
        return f"<role>ASSISTANT</role>{_ling2_assistant(message, safe, thinking)}<|role_end|>"
    header = "HUMAN" if role == "user" else "SYSTEM"
    return f"<role>{header}</role>{content_of(message, safe)}<|role_end|>"


def _ling2_assistant(message: Message, safe: str | None, thinking: bool) -> str:
    raw = message.get("raw")
    if isinstance(raw, str):
        return neutralise_generated(raw, safe) if safe else raw
    content = cast("str", message.get("content") or "")
    reasoning = message.get("reasoning_content")
    if not isinstance(reasoning, str):
        reasoning, content = _split_reasoning(content)
    reasoning, content = _safe(reasoning, safe), _safe(content, safe)
    shown = content
    if thinking and reasoning:
        inner = reasoning.strip("\n")
        shown = f"\n<think>\n{inner}\n</think>\n\n" + content.lstrip("\n")
    calls = [_rendered(call, safe) for call in as_list(message.get("tool_calls"))]
    if calls and content:
        calls[0] = f"\n{calls[0]}"
    return shown + "\n".join(calls)


def _split_reasoning(content: str) -> tuple[str, str]:
    """Take `<think>…</think>` out of an assistant text exactly as the Ling template does."""
    if "</think>" not in content:
        return "", content
    before, after = content.split("</think>")[0], content.split("</think>")[-1]
    return before.rstrip("\n").split("<think>")[-1].lstrip("\n"), after.lstrip("\n")


# -- chatml


def _chatml_head(first: Message, tools: Tools, safe: str | None) -> str:
    system = first["content"] if first["role"] == "system" else _QWEN_SYSTEM
    parts = [f"<|im_start|>system\n{system}"]
    if tools:
        parts += ["\n\n", _TOOLS_HEAD, *_tool_lines(tools, safe), _TOOLS_TAIL]
    parts.append("<|im_end|>\n")
    return "".join(parts)


def _chatml_message(message: Message, safe: str | None, thinking: bool) -> str:
    role = message["role"]
    if role == "assistant":
        return f"<|im_start|>assistant{_chatml_assistant(message, safe)}<|im_end|>\n"
    return f"<|im_start|>{role}\n{content_of(message, safe)}<|im_end|>\n"


def _chatml_assistant(message: Message, safe: str | None) -> str:
    """The header's line break belongs to the body: the template omits it before a bare call."""
    raw = message.get("raw")
    if isinstance(raw, str):
        return f"\n{neutralise_generated(raw, safe) if safe else raw}"
    content = content_of(message, safe)
    calls = as_list(message.get("tool_calls"))
    shown = [f"\n{content}"] if content or not calls else []
    return "".join([*shown, *(f"\n{_rendered(call, safe)}" for call in calls)])


# -- calls and tools, the same in both


def _rendered(call: object, safe: str | None) -> str:
    function = function_of(call)
    arguments = function["arguments"]
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    arguments = cast("Mapping[str, Any]", arguments)
    opener, body, closer = render_call(function["name"], arguments).split("\n")
    return f"{opener}\n{escape_json(body, safe) if safe else body}\n{closer}"


def _safe(text: str, safe: str | None) -> str:
    return neutralise(text, safe) if safe else text


def _tool_lines(tools: Sequence[Mapping[str, Any]], safe: str | None) -> list[str]:
    """Each tool as one line of JSON.

    The templates paste descriptions as they are; one that holds `</tools>` or a stop token would
    end the block or the turn, so its `<` is written as an escape, which is the same JSON.
    """
    lines = [_dumps(tool) for tool in tools]
    return [f"\n{escape_json(line, safe) if safe else line}" for line in lines]


def _dumps(value: object) -> str:
    """JSON as the templates' `tojson` writes it: no ASCII escapes, `", "` and `": "`."""
    return json.dumps(value, ensure_ascii=False)


BY_NAME = {
    "ling2": Template(
        _ling2_head,
        _ling2_message,
        ("<role>OBSERVATION</role>", "<|role_end|>"),
        "<role>ASSISTANT</role>",
    ),
    "chatml": Template(
        _chatml_head,
        _chatml_message,
        ("<|im_start|>user", "<|im_end|>\n"),
        "<|im_start|>assistant\n",
    ),
}
