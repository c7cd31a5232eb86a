"""Messages and tools to prompt text, byte for byte as the official templates render them.

`ling2` is the Ling 2.0 template (also used by 2.5 and 2.6), `chatml` the one of Qwen2.5 with its
Hermes tool section. Differences to the templates are deliberate and few: tokens in user and tool
text are neutralised, an assistant message may carry the exact text that the model generated
(`raw`), and what the templates silently drop or garble is an error here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from .neutralise import escape_json
from .neutralise import neutralise as neutralised
from .schema import as_list, as_mapping
from .types import HermesError

Message = Mapping[str, Any]

ROLES = ("system", "user", "assistant", "tool")

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


def render(
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] | None = None,
    *,
    template: str = "ling2",
    add_generation_prompt: bool = True,
    neutralise: bool = True,
) -> str:
    """The prompt for a conversation.

    Args:
        messages: OpenAI-style messages: `role` (system, user, assistant, tool), `content` (a
            string; None for an assistant that only calls), `tool_calls` with `arguments` as an
            object. An assistant message with `raw` is rendered as exactly that text.
        tools: OpenAI tool objects, rendered in the order given.
        template: `ling2` or `chatml`.
        add_generation_prompt: End with the header of the next assistant turn.
        neutralise: Break the format's own words in user, tool and re-rendered assistant text.

    Returns:
        The prompt text; what a tokenizer reads with special tokens enabled.

    Raises:
        HermesError: A message that the template could not render faithfully; one line says which.
    """
    body = _BODIES.get(template)
    if body is None:
        raise HermesError(f'unknown template "{template}": one of {", ".join(sorted(_BODIES))}')
    if not messages:
        raise HermesError("an empty conversation cannot be rendered: add a user message")
    for at, message in enumerate(messages):
        _check(at, message)
    return body(messages, tools or (), add_generation_prompt, template if neutralise else None)


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


def _ling2(
    messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], prompt: bool, safe: str | None
) -> str:
    parts = ["<role>SYSTEM</role>"]
    start = 0
    if messages[0]["role"] == "system":
        parts.append(f"{messages[0]['content']}\n")
        start = 1
    if tools:
        parts += [_TOOLS_HEAD, *_tool_lines(tools, safe), _TOOLS_TAIL, "\n"]
    parts.append("detailed thinking off<|role_end|>")
    query = _last_query(messages)
    for at in range(start, len(messages)):
        message = messages[at]
        role = message["role"]
        if role == "tool":
            parts.append(_tool_turn(messages, at, "<role>OBSERVATION</role>", "<|role_end|>", safe))
        elif role == "assistant":
            body = _ling2_assistant(message, safe, thinking=at > query)
            parts.append(f"<role>ASSISTANT</role>{body}<|role_end|>")
        else:
            header = "HUMAN" if role == "user" else "SYSTEM"
            parts.append(f"<role>{header}</role>{_content(message, safe)}<|role_end|>")
    if prompt:
        parts.append("<role>ASSISTANT</role>")
    return "".join(parts)


def _chatml(
    messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], prompt: bool, safe: str | None
) -> str:
    first = messages[0]
    system = first["content"] if first["role"] == "system" else _QWEN_SYSTEM
    start = 1 if first["role"] == "system" else 0
    parts = [f"<|im_start|>system\n{system}"]
    if tools:
        parts += ["\n\n", _TOOLS_HEAD, *_tool_lines(tools, safe), _TOOLS_TAIL]
    parts.append("<|im_end|>\n")
    for at in range(start, len(messages)):
        message = messages[at]
        role = message["role"]
        if role == "tool":
            parts.append(_tool_turn(messages, at, "<|im_start|>user", "<|im_end|>\n", safe))
        elif role == "assistant":
            body = _chatml_assistant(message, safe)
            parts.append(f"<|im_start|>assistant{body}<|im_end|>\n")
        else:
            parts.append(f"<|im_start|>{role}\n{_content(message, safe)}<|im_end|>\n")
    if prompt:
        parts.append("<|im_start|>assistant\n")
    return "".join(parts)


_BODIES: dict[
    str, Callable[[Sequence[Message], Sequence[Mapping[str, Any]], bool, str | None], str]
] = {"ling2": _ling2, "chatml": _chatml}

TEMPLATES = tuple(_BODIES)
"""Names of the templates."""


def _tool_turn(
    messages: Sequence[Message], at: int, opener: str, closer: str, safe: str | None
) -> str:
    """One result; neighbouring results share a turn."""
    before = "" if at and messages[at - 1]["role"] == "tool" else opener
    last = at + 1 == len(messages) or messages[at + 1]["role"] != "tool"
    response = render_tool_response(_content(messages[at], safe))
    return f"{before}\n{response}{closer if last else ''}"


def _last_query(messages: Sequence[Message]) -> int:
    """Index of the last real user message; the template shows reasoning only behind it."""
    for at in range(len(messages) - 1, -1, -1):
        if messages[at]["role"] == "user":
            content = cast("str", messages[at]["content"])
            tool_results = ("<tool_response>", "</tool_response>")
            if not (content.startswith(tool_results[0]) and content.endswith(tool_results[1])):
                return at
    return len(messages) - 1


def _ling2_assistant(message: Message, safe: str | None, *, thinking: bool) -> str:
    raw = message.get("raw")
    if isinstance(raw, str):
        return raw
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


def _chatml_assistant(message: Message, safe: str | None) -> str:
    """The header's line break belongs to the body: the template omits it before a bare call."""
    raw = message.get("raw")
    if isinstance(raw, str):
        return f"\n{raw}"
    content = _content(message, safe)
    calls = as_list(message.get("tool_calls"))
    shown = [f"\n{content}"] if content or not calls else []
    return "".join([*shown, *(f"\n{_rendered(call, safe)}" for call in calls)])


def _rendered(call: object, safe: str | None) -> str:
    function = _function(call)
    arguments = function["arguments"]
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    arguments = cast("Mapping[str, Any]", arguments)
    opener, body, closer = render_call(function["name"], arguments).split("\n")
    return f"{opener}\n{escape_json(body, safe) if safe else body}\n{closer}"


def _function(call: object) -> Mapping[str, Any]:
    outer = as_mapping(call)
    return as_mapping(outer.get("function")) or outer


def _content(message: Message, safe: str | None) -> str:
    content = cast("str", message.get("content") or "")
    return content if message["role"] == "system" else _safe(content, safe)


def _safe(text: str, safe: str | None) -> str:
    return neutralised(text, safe) if safe else text


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


# -- what the templates would drop or garble


def _check(at: int, message: Message) -> None:
    role = message.get("role")
    if role == "developer":
        raise HermesError(f"messages[{at}]: the template drops developer messages; use system")
    if role not in ROLES:
        raise HermesError(f"messages[{at}]: unknown role {role!r}; one of {', '.join(ROLES)}")
    content = message.get("content")
    if isinstance(content, list | tuple):
        raise HermesError(f"messages[{at}]: content must be one string, not a list of parts")
    if not isinstance(content, str) and not (role == "assistant" and content is None):
        raise HermesError(f"messages[{at}]: content must be a string, not {type(content).__name__}")
    if role != "assistant":
        for key in ("tool_calls", "raw"):
            if message.get(key):
                raise HermesError(f"messages[{at}]: only assistant messages have {key}")
        return
    if not isinstance(message.get("raw"), str | None):
        raise HermesError(f"messages[{at}]: raw must be the generated text as a string")
    for number, call in enumerate(as_list(message.get("tool_calls"))):
        _check_call(f"messages[{at}].tool_calls[{number}]", call)


def _check_call(where: str, call: object) -> None:
    function = _function(call)
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise HermesError(f"{where}: the function has no name")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            raise HermesError(f"{where}: the arguments of {name} are not valid JSON") from None
    if not isinstance(arguments, Mapping):
        raise HermesError(f"{where}: the arguments of {name} must be an object")
