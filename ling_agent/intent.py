"""Whether a message talks about a call that it does not make: ``I will use search_offers to …``.

Small models, and servers that lose calls, end so. The signs are strict, because a call that is then
asked for with force must not be one that nobody meant: a declared tool's name, in one of the last
sentences, together with the intention to use it now, or written as a call in code; and nothing that
denies it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_LAST_SENTENCES = 3
_SENTENCES = re.compile(r"(?<=[.!?。！？])\s+|\n+|(?<=[。！？])")
_INTENTION = re.compile(
    r"\b(?:i(?:'|’)ll|i (?:will|need to|have to|should|must|am going to)|i(?:'|’)m going to|"
    r"we (?:will|need to|have to|should|must)|let me|let(?:'|’)s|calling|going to)\b"
    r"|我(?:将|会|来|要|需要|先)|让我|现在(?:调用|使用)",
    re.IGNORECASE,
)
_DENIAL = re.compile(
    r"\b(?:not|no|cannot|without|unable|none|never|nor|if)\b|n(?:'|’)t\b|不|没有?|无法|无需|如果",
    re.IGNORECASE,
)


def shows_call(text: str, names: Iterable[str]) -> bool:
    """Whether a text shows how a declared tool is called: in quotes, in backticks or as code.

    A program that defines a function of that name calls no tool: so a small model answers what
    none of its tools is for.

    Args:
        text: Of a message that is to be an answer in words.
        names: Of the declared tools.
    """
    return any(
        re.search(rf"([\"`']){re.escape(name)}\1|(?<![\w-]){re.escape(name)}\(", text)
        and not re.search(rf"\b(?:def|function) {re.escape(name)}\(", text)
        for name in names
    )


def announced_tool(text: str, names: Iterable[str]) -> str | None:
    """The tool that a message without calls says it is about to use; None when it says no such.

    Args:
        text: The visible text.
        names: Of the declared tools.
    """
    sentences = [part for part in _SENTENCES.split(text[-2000:]) if part.strip()]
    for sentence in reversed(sentences[-_LAST_SENTENCES:]):
        if _DENIAL.search(sentence):
            continue
        for name in names:
            named = re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])(\s*\()?", sentence)
            if named and (named[1] or _INTENTION.search(sentence)):
                return name
    return None
