"""The format's own words: tags, special tokens, and how to tell one that has only half arrived."""

from __future__ import annotations

import re

STOP_STRINGS = ("<|im_end|>", "<|endoftext|>", "<|role_end|>")
"""Texts of the tokens that end an assistant turn (ChatML: the first two; Ling: the last two)."""

SPECIAL_TOKENS = (*STOP_STRINGS, "<|startoftext|>", "<|im_start|>")
"""Control tokens that are never part of a message's content."""

BACKTICK = "`"
FENCE = BACKTICK * 3
LEAD = re.compile(r"(?:[\s\u200b\u2060\ufeff]|\\[nrt])*+")
"""What may stand between a tag and its body: white space, zero-width marks, a literal `\\n`."""

TAG = re.compile(
    r"(?P<open><tool_call\s{0,8}>)"
    r"|(?P<close></tool_call\s{0,8}>)"
    r"|(?P<think><think>)"
    r"|(?P<unthink></think>)"
    r"|(?P<response></?tool_response>)"
    r"|(?P<tools><tools>)"
    r"|(?P<function><function=(?P<name>[^<>\s]{1,128})\s{0,8}>)"
    r"|(?P<stop><\|(?:im_end|endoftext|role_end)\|>)"
    r"|(?P<bos><\|startoftext\|>)"
    r"|(?P<role><role>(?P<who>SYSTEM|HUMAN|ASSISTANT|OBSERVATION)</role>)"
    r"|(?P<turn><\|im_start\|>(?P<speaker>assistant|user|system|tool)?\n?)"
    r"|(?P<key><arg_key>)"
    r"|(?P<other></(?:tools|function|parameter|arg_value|arg_key)>)"
)
"""One complete tag; `Match.lastgroup` names its kind (the outer group closes last)."""

_WHO = ("SYSTEM", "HUMAN", "ASSISTANT", "OBSERVATION")
_LITERALS = (
    *("<tool_call>", "</tool_call>", "<think>", "</think>", "<tool_response>", "</tool_response>"),
    *("<tools>", "</tools>", "<function=", "</function>", "</parameter>"),
    *("<arg_key>", "</arg_key>", "</arg_value>"),
    *(f"<role>{who}</role>" for who in _WHO),
    *SPECIAL_TOKENS,
)
_PREFIXES = frozenset(tag[:n] for tag in _LITERALS for n in range(1, len(tag)))
_OPEN_ENDED = re.compile(r"</?tool_call\s{1,8}|<function=[^<>\s]{0,128}\s{0,8}")


def is_partial(text: str, pos: int) -> bool:
    """Whether the rest of `text` from `pos` could still grow into a tag."""
    if len(text) - pos > 160:
        return False
    tail = text[pos:]
    return tail in _PREFIXES or _OPEN_ENDED.fullmatch(tail) is not None


def partial_at(text: str, pos: int) -> int:
    """Where behind `pos` a tag starts that `text` cuts off; the end of `text` when none does."""
    last = text.rfind("<", pos)
    earlier = text.rfind("<", pos, max(last, pos))  # a role tag holds a second "<"
    for at in (earlier, last):
        if at >= 0 and is_partial(text, at):
            return at
    return len(text)


_CONTROL_PREFIXES = frozenset(
    word[:n]
    for word in (*SPECIAL_TOKENS, *(f"<role>{who}</role>" for who in _WHO))
    for n in range(1, len(word))
)


_LONGEST_CONTROL = max(len(word) for word in _CONTROL_PREFIXES)


def ends_in_control(text: str) -> bool:
    """Whether `text` ends in the beginning of a special token or of a role tag."""
    at = text.rfind("<", max(0, len(text) - _LONGEST_CONTROL))
    while at >= 0:
        if text[at:] in _CONTROL_PREFIXES:
            return True
        at = text.rfind("<", max(0, len(text) - _LONGEST_CONTROL), at)
    return False


_TORN = re.compile(r"<\|[a-z]|<role>[A-Z]")


def is_torn(text: str, pos: int) -> bool:
    """Whether the partial tag at the end of `text` can only be a control token that was cut."""
    return _TORN.match(text, pos) is not None


_SPEAKERS = ("assistant", "user", "system", "tool")


def is_growing(match: re.Match[str], text: str) -> bool:
    """Whether a matched `<|im_start|>` may still get its role or its line break."""
    if match["turn"] is None or match["turn"].endswith("\n"):
        return False
    rest = text[match.end() : match.end() + 10]
    if match["speaker"]:
        return not rest
    whole = match.end() + len(rest) == len(text)
    return whole and any(who.startswith(rest) for who in _SPEAKERS)
