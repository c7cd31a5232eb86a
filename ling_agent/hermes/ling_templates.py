"""The templates of Ling, generation by generation.

Turns are ``<role>…</role>`` and the text, from Ling 2 on with ``<|role_end|>`` behind it, and with
nothing between them. The results of one step are one ``OBSERVATION`` turn.
"""

from __future__ import annotations

from functools import partial

from .template_parts import (
    TOOLS_HEAD,
    TOOLS_TAIL,
    Message,
    Template,
    Tools,
    calls_of,
    content_of,
    raw_of,
    reasoning_of,
    tool_lines,
)

_SWITCHES = ("detailed thinking on", "detailed thinking off")
_ARG_KEY_TAIL = (
    "\n</tools>\n\nIf none of the functions can be used, point it out. If the given question lacks "
    "the parameters required by the function, also point it out.\nIf you need to use a function, "
    "for each function call, output the function name and arguments within the following XML "
    "format:\n<tool_call>{function-name}\n<arg_key>{arg-key-1}</arg_key>\n"
    "<arg_value>{arg-value-1}</arg_value>\n<arg_key>{arg-key-2}</arg_key>\n"
    "<arg_value>{arg-value-2}</arg_value>\n...\n</tool_call>\n"
)
_ROLES = {"user": "HUMAN", "system": "SYSTEM"}
_ANSWER = "<role>ASSISTANT</role>"
_RESULTS = ("<role>OBSERVATION</role>", "<|role_end|>")


# -- Ling 1


def _ling1_head(first: Message, tools: Tools, safe: str | None) -> str:
    parts = [first["content"]] if first["role"] == "system" else []
    if tools:
        parts += ["\n"] if parts else []
        parts += [TOOLS_HEAD, *tool_lines(tools, safe), TOOLS_TAIL]
    return "<role>SYSTEM</role>" + "".join(parts) if parts else ""


def _ling1_message(message: Message, safe: str | None, thinking: bool, last: bool) -> str:
    role = message["role"]
    if role == "assistant":
        raw = raw_of(message, safe)
        return _ANSWER + (_content_and_calls(message, safe) if raw is None else raw)
    return f"<role>{_ROLES[role]}</role>{content_of(message, safe)}"


def _content_and_calls(message: Message, safe: str | None) -> str:
    content = content_of(message, safe)
    return "\n".join([*([content] if content else []), *calls_of(message, safe)])


# -- Ling 2.0, and 2.5 and 2.6, whose thinking the system text switches


def _ling2_head(first: Message, tools: Tools, safe: str | None) -> str:
    parts = ["<role>SYSTEM</role>"]
    if first["role"] == "system":
        parts.append(f"{first['content']}\n")
    if tools:
        parts += [TOOLS_HEAD, *tool_lines(tools, safe), TOOLS_TAIL, "\n"]
    parts.append("detailed thinking off<|role_end|>")
    return "".join(parts)


def _switched_head(switch: str, tail: str, first: Message, tools: Tools, safe: str | None) -> str:
    """The head with the family's switch, unless the system text has one already."""
    system = first["content"] if first["role"] == "system" else None
    chosen = system is not None and any(words in system for words in _SWITCHES)
    end = "<|role_end|>" if chosen else f"{switch}<|role_end|>"
    if not tools:
        shown = "" if system is None else system if chosen else f"{system}\n"
        return f"<role>SYSTEM</role>{shown}{end}"
    shown = "" if system is None else f"{system}\n"
    return "".join(("<role>SYSTEM</role>", shown, TOOLS_HEAD, *tool_lines(tools, safe), tail, end))


def _ling2_message(message: Message, safe: str | None, thinking: bool, last: bool) -> str:
    role = message["role"]
    if role != "assistant":
        return f"<role>{_ROLES[role]}</role>{content_of(message, safe)}<|role_end|>"
    raw = raw_of(message, safe)
    body = _ling2_assistant(message, safe, thinking) if raw is None else raw
    return f"{_ANSWER}{body}<|role_end|>"


def _ling2_assistant(message: Message, safe: str | None, thinking: bool) -> str:
    reasoning, content = reasoning_of(message, safe)
    shown = content
    if thinking and reasoning:
        inner = reasoning.strip("\n")
        shown = f"\n<think>\n{inner}\n</think>\n\n" + content.lstrip("\n")
    calls = calls_of(message, safe)
    if calls and content:
        calls[0] = f"\n{calls[0]}"
    return shown + "\n".join(calls)


# -- Ling 3.0


def _ling3_message(
    answer: str, message: Message, safe: str | None, thinking: bool, last: bool
) -> str:
    role = message["role"]
    if role != "assistant":
        return f"<role>{_ROLES[role]}</role>{content_of(message, safe)}<|role_end|>"
    raw = raw_of(message, safe)
    if raw is not None:
        return f"{answer}{raw}<|role_end|>"
    return f"{_ANSWER}{_ling3_assistant(message, safe)}<|role_end|>"


def _ling3_assistant(message: Message, safe: str | None) -> str:
    """Reasoning stays in every turn, and a turn without any says so."""
    reasoning, content = reasoning_of(message, safe, empty=False)
    inner = reasoning.strip("\n")
    shown = f"\n<think>{inner}</think>" + (content.lstrip("\n") if reasoning else content)
    calls = calls_of(message, safe, dialect="arg_key")
    if calls and content:
        calls[0] = f"\n{calls[0]}"
    return shown + "\n".join(calls)


def _ling25(switch: str) -> Template:
    head = partial(_switched_head, f"detailed thinking {switch}", f"{TOOLS_TAIL}\n")
    return Template(head, _ling2_message, _RESULTS, _ANSWER)


def _ling3(switch: str, opening: str) -> Template:
    head = partial(_switched_head, f"detailed thinking {switch}", _ARG_KEY_TAIL)
    answer = f"{_ANSWER}\n{opening}"
    return Template(head, partial(_ling3_message, answer), _RESULTS, answer)


LING1 = Template(_ling1_head, _ling1_message, ("<role>TOOL</role>", ""), _ANSWER)
LING2 = Template(_ling2_head, _ling2_message, _RESULTS, _ANSWER)
LING25 = _ling25("off")
LING25_THINKING = _ling25("on")
LING3 = _ling3("off", "<think></think>")
LING3_THINKING = _ling3("on", "<think>")
