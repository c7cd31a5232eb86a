"""Breaks the format's own words in user and tool text, and puts them back.

Nothing in the templates escapes content, so `</tool_response>` or `<|role_end|>` in a tool's output
would end its turn. A word joiner (U+2060) behind the `<` breaks such a word: a tokenizer no longer
sees the special token, and a reader sees no difference. Text that already holds a broken word gets
one more joiner, so `restore` is exact for every text.
"""

from __future__ import annotations

import re

from .types import HermesError

MARK = "\u2060"
"""U+2060 WORD JOINER: no width, no line break, and not part of any special token."""

_COMMON = (
    *(r"/?tool_call\s*>", r"/?tool_response\s*>", r"/?tools\s*>", r"/?think\s*>"),
    *(r"function=", r"/function>", r"parameter=", r"/parameter>"),
    *(r"/?arg_key>", r"/?arg_value>"),
)
_BROKEN = {
    "ling2": (
        *_COMMON,
        *(r"/?role>", r"\|role_end\|>", r"\|endoftext\|>", r"\|startoftext\|>"),
        *(r"\|im_start\|>", r"\|im_end\|>"),
    ),
    "chatml": (
        *_COMMON,
        *(r"\|im_start\|>", r"\|im_end\|>", r"\|endoftext\|>"),
        *(r"/?role>", r"\|role_end\|>", r"\|startoftext\|>", r"\|(?:object_ref|box|quad)_\w+\|>"),
        *(r"\|(?:vision|fim)_\w+\|>", r"\|(?:image|video|repo)_\w+\|>", r"\|file_sep\|>"),
    ),
}
_ADD = {name: re.compile(f"<(?={MARK}*(?:{'|'.join(words)}))") for name, words in _BROKEN.items()}
_REMOVE = {
    name: re.compile(f"<{MARK}(?={MARK}*(?:{'|'.join(words)}))") for name, words in _BROKEN.items()
}


def _pattern(patterns: dict[str, re.Pattern[str]], template: str) -> re.Pattern[str]:
    try:
        return patterns[template]
    except KeyError:
        known = ", ".join(sorted(patterns))
        raise HermesError(f'unknown template "{template}": one of {known}') from None


def neutralise(text: str, template: str) -> str:
    """Break every tag and special token in `text`; deterministic, undone by `restore`.

    Raises:
        HermesError: Unknown template.
    """
    pattern = _pattern(_ADD, template)
    return pattern.sub(f"<{MARK}", text) if "<" in text else text


def restore(text: str, template: str) -> str:
    """Undo `neutralise`: `restore(neutralise(text, t), t) == text` for every text.

    Raises:
        HermesError: Unknown template.
    """
    pattern = _pattern(_REMOVE, template)
    return pattern.sub("<", text) if MARK in text else text


def escape_json(text: str, template: str) -> str:
    """Break the same words in JSON text by `\\u003c`: the JSON value stays exactly the same."""
    pattern = _pattern(_ADD, template)
    return pattern.sub(r"\\u003c", text) if "<" in text else text
