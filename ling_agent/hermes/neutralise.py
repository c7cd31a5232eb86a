"""Breaks the format's own words in user and tool text, and puts them back.

Nothing in the templates escapes content, so `</tool_response>` or `<|role_end|>` in a tool's output
would end its turn. A word joiner (U+2060) behind the bracket breaks such a word: a tokenizer no
longer sees the special token, and a reader sees no difference. Text that already holds a broken
word gets one more joiner, so `restore` is exact for every text.

A word is every tag of the format, and every text that is a special token in the vocabulary of a
family that speaks it: whatever stands between `<|` and `|>`, whether known or not, and those of the
older families by name.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from .types import HermesError

T = TypeVar("T")

MARK = "\u2060"
"""U+2060 WORD JOINER: no width, no line break, and not part of any special token."""

# What a model has reason to write: the tags of the format and of its dialects.
_TAGS = (
    *(r"/?tool_call\s*>", r"/?tool_response\s*>", r"/?tools\s*>", r"/?think\s*>"),
    *(r"function=", r"/function>", r"parameter=", r"/parameter>"),
    *(r"/?arg_key>", r"/?arg_value>"),
)
# Only a template writes these. DeepSeek's bars are U+FF5C.
_TURNS = (r"\|[^\s<>|]{1,64}\|>", r"｜[^\s<>｜]{1,64}｜>", r"/?role>")
# In square brackets: Ling's, and those of the families before ChatML.
_SQUARE = (
    r"/?INST\]",
    r"(?:gMASK|sMASK|MASK|CLS|SEP|PAD|UNK|BOS|EOS)\]",
    r"/?(?:AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CALLS|TOOL_CONTENT|SYSTEM_PROMPT|IMG)\]",
)
# Of the vocabularies that other models with ChatML have: Mistral's, StarCoder's, Gemma's.
_OTHERS = (
    *(r"/?s>", r"(?:unk|pad|bos|eos|mask|sep|cls|sop|eop)>", r"(?:start|end)_of_turn>"),
    *(r"<SYS>>", r"</SYS>>", r"repo_?name>", r"file_sep>", r"filename>", r"gh_stars>"),
    *(r"issue_(?:start|comment|closed)>", r"commit_(?:before|msg|after)>", r"empty_output>"),
    *(r"jupyter_(?:start|text|code|output|script)>", r"fim_(?:prefix|middle|suffix|pad)>"),
)
_LING = ("ling1", "ling2", "ling2.5", "ling2.5-thinking", "ling3", "ling3-thinking")
_CHATML = ("chatml", "qwen3", "qwen3-no-thinking", "hermes", "plain")
_ANGLED = dict.fromkeys(_LING, _TURNS) | dict.fromkeys(_CHATML, (*_TURNS, *_OTHERS))


def _patterns(marks: str, *tags: str) -> dict[str, re.Pattern[str]]:
    """By template, the bracket that begins a word, and ``marks`` behind it as group 0 has them."""
    square = "|".join(_SQUARE)
    return {
        name: re.compile(
            f"<{marks}(?={MARK}*(?:{'|'.join((*tags, *words))}))|\\[{marks}(?={MARK}*(?:{square}))"
        )
        for name, words in _ANGLED.items()
    }


_ADD = _patterns("", *_TAGS)
_ADD_TURNS = _patterns("")
_REMOVE = _patterns(MARK, *_TAGS)
_ESCAPES = {"<": "\\u003c", "[": "\\u005b"}


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
    return pattern.sub(f"\\g<0>{MARK}", text) if "<" in text or "[" in text else text


def neutralise_generated(text: str, template: str) -> str:
    """Break what only a template writes in a text that the model generated.

    A model that spells a special token out, letter by letter, has written text. Repeated in the
    next prompt it would be the token itself.

    Raises:
        HermesError: Unknown template.
    """
    pattern = _pattern(_ADD_TURNS, template)
    return pattern.sub(f"\\g<0>{MARK}", text) if "<" in text or "[" in text else text


def neutralise_json(value: T, template: str) -> T:
    """`neutralise` for every text in a JSON value, names included; the same object without any.

    For JSON that somebody else renders, who may not escape it: see `escape_json`.

    Raises:
        HermesError: Unknown template.
    """
    return cast("T", _neutralised(value, template))


def _neutralised(value: Any, template: str) -> Any:
    if isinstance(value, str):
        return neutralise(value, template)
    if isinstance(value, Mapping):
        held = cast("Mapping[str, Any]", value)
        safe = {
            neutralise(name, template): _neutralised(part, template) for name, part in held.items()
        }
        same = all(safe.get(name, safe) is part for name, part in held.items())
        return held if same else safe
    if isinstance(value, list | tuple):
        parts = [_neutralised(part, template) for part in cast("list[Any]", value)]
        same = all(map(operator.is_, parts, cast("list[Any]", value)))
        return value if same else parts  # pyright: ignore[reportUnknownVariableType]
    return value


def restore(text: str, template: str) -> str:
    """Undo `neutralise`: `restore(neutralise(text, t), t) == text` for every text.

    Raises:
        HermesError: Unknown template.
    """
    pattern = _pattern(_REMOVE, template)
    return pattern.sub(lambda match: match[0][0], text) if MARK in text else text


def escape_json(text: str, template: str) -> str:
    """Break the same words in JSON text by escapes: the JSON value stays exactly the same.

    Raises:
        HermesError: Unknown template.
    """
    pattern = _pattern(_ADD, template)
    if "<" not in text and "[" not in text:
        return text
    return pattern.sub(lambda match: _ESCAPES[match[0]], text)
