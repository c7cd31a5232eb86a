"""The templates that speak ChatML with Qwen's section for tools: Qwen2.5, Qwen3, and a plain one.

Tool results are a turn of the user.
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

_QWEN_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
_ANSWER = "<|im_start|>assistant\n"
_RESULTS = ("<|im_start|>user", "<|im_end|>\n")


def _qwen25_head(first: Message, tools: Tools, safe: str | None) -> str:
    system = first["content"] if first["role"] == "system" else _QWEN_SYSTEM
    return _head(system, tools, safe)


def _plain_head(first: Message, tools: Tools, safe: str | None) -> str:
    return _head(first["content"] if first["role"] == "system" else None, tools, safe)


def _head(system: str | None, tools: Tools, safe: str | None) -> str:
    if system is None and not tools:
        return ""
    parts = [] if system is None else [system]
    if tools:
        parts += ["\n\n"] if parts else []
        parts += [TOOLS_HEAD, *tool_lines(tools, safe), TOOLS_TAIL]
    return f"<|im_start|>system\n{''.join(parts)}<|im_end|>\n"


# -- Qwen2.5


def _qwen25_message(message: Message, safe: str | None, thinking: bool, last: bool) -> str:
    role = message["role"]
    if role == "assistant":
        return f"<|im_start|>assistant{_qwen25_assistant(message, safe)}<|im_end|>\n"
    return f"<|im_start|>{role}\n{content_of(message, safe)}<|im_end|>\n"


def _qwen25_assistant(message: Message, safe: str | None) -> str:
    """The header's line break belongs to the body: the template omits it before a bare call."""
    raw = raw_of(message, safe)
    if raw is not None:
        return f"\n{raw}"
    content, calls = content_of(message, safe), calls_of(message, safe)
    shown = [f"\n{content}"] if content or not calls else []
    return "".join([*shown, *(f"\n{call}" for call in calls)])


# -- Qwen3


def _qwen3_message(
    answer: str, message: Message, safe: str | None, thinking: bool, last: bool
) -> str:
    role = message["role"]
    if role != "assistant":
        return f"<|im_start|>{role}\n{content_of(message, safe)}<|im_end|>\n"
    raw = raw_of(message, safe)
    if raw is not None:
        return f"{answer}{raw}<|im_end|>\n"
    return f"{_ANSWER}{_qwen3_assistant(message, safe, thinking, last)}<|im_end|>\n"


def _qwen3_assistant(message: Message, safe: str | None, thinking: bool, last: bool) -> str:
    """Reasoning is shown behind the last question only, and in the last message even when empty."""
    reasoning, content = reasoning_of(message, safe)
    shown = content
    if thinking and (last or reasoning):
        inner = reasoning.strip("\n")
        shown = f"<think>\n{inner}\n</think>\n\n" + content.lstrip("\n")
    calls = calls_of(message, safe)
    if calls and content:
        calls[0] = f"\n{calls[0]}"
    return shown + "\n".join(calls)


def _qwen3(opening: str) -> Template:
    answer = f"{_ANSWER}{opening}"
    return Template(_plain_head, partial(_qwen3_message, answer), _RESULTS, answer)


CHATML = Template(_qwen25_head, _qwen25_message, _RESULTS, _ANSWER)
PLAIN = Template(_plain_head, _qwen25_message, _RESULTS, _ANSWER)
QWEN3 = _qwen3("")
QWEN3_NO_THINKING = _qwen3("<think>\n\n</think>\n\n")
