"""The repair ladder: named steps from almost-JSON text to JSON, each applied only when unambiguous.

A step looks at tokens, not at characters, so nothing inside a string is ever taken for structure.
Text that holds anything the steps do not know stays broken: there is no guessing parser behind.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .calls import Bad, Good, Outcome, loads, read_value
from .quotes import read_unescaped
from .schema import ToolBook, accepts

MAX_LADDER_CHARS = 262_144
"""Longer texts are not repaired: the ladder is a handful of passes in Python."""

_TOKEN = re.compile(
    r'(?P<string>"(?:[^"\\]+|\\.)*+")'
    r"|(?P<single>'(?:[^'\\]+|\\.)*+')"
    r"|(?P<punctuation>[{}\[\]:,])"
    r"|(?P<number>-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.+-]))"
    r"|(?P<word>[A-Za-z_$][\w$]*)"
    r"|(?P<space>\s+)",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f]")
_CONTROL_NAMES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
_LINE_BREAKS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}
_REGEX_ESCAPES = frozenset("dDwWsS.()[]*+?|$^-")
_PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}


@dataclass(slots=True)
class _Token:
    kind: str
    text: str


@dataclass(slots=True)
class _Ladder:
    """The tokens of one text and the names of the steps that changed them."""

    tokens: list[_Token]
    applied: list[str] = field(default_factory=list[str])

    def note(self, step: str) -> None:
        if step not in self.applied:
            self.applied.append(step)


def read_block(
    text: str, book: ToolBook, *, closed: bool, repairs: list[str], strict: bool = False
) -> list[Outcome]:
    """The calls in the text of one block.

    Args:
        text: The block without its tags.
        book: The declared tools.
        closed: Whether an end tag (or the start of one) followed.
        repairs: What the block scanner already had to repair.
        strict: Allow no repair of the text at all.
    """
    try:
        return read_value(loads(text), book, repairs)
    except ValueError as error:
        problem = error
    if not strict:
        better = repaired(text, closed=closed)
        if better is not None:
            return read_value(better[0], book, [*repairs, *better[1]])
        found = _unescaped_quotes(text, book, repairs)
        if found is not None:
            return [found]
    return [Bad("invalid_json", describe(problem))]


def describe(problem: ValueError) -> str:
    """One line with the position and what was expected, for the model."""
    if isinstance(problem, json.JSONDecodeError):
        near = problem.doc[max(0, problem.pos - 12) : problem.pos + 12]
        shown = json.dumps(near, ensure_ascii=False).translate(_LINE_BREAKS)
        return (
            f"The JSON of the call is invalid at line {problem.lineno} column {problem.colno}: "
            f"{problem.msg}, near {shown}. Send the call again."
        )
    return f"The JSON of the call is invalid: {problem}. Send the call again."


def repaired(text: str, *, closed: bool) -> tuple[Any, list[str]] | None:
    """The value that the ladder makes of `text` and the steps it took; None where it cannot."""
    if len(text) > MAX_LADDER_CHARS:
        return None
    tokens = _tokenised(text)
    if tokens is None:
        return None
    ladder = _Ladder(tokens)
    for step in STEPS:
        if not step(ladder):
            return None
    if closed:
        missing_brace(ladder)
    try:
        return loads("".join(token.text for token in ladder.tokens)), ladder.applied
    except ValueError:
        return None


def _tokenised(text: str) -> list[_Token] | None:
    tokens: list[_Token] = []
    pos = 0
    while pos < len(text):
        match = _TOKEN.match(text, pos)
        if match is None or match.lastgroup is None:
            return None
        if match.lastgroup != "space":
            tokens.append(_Token(match.lastgroup, match[0]))
        pos = match.end()
    return tokens


def single_quotes(ladder: _Ladder) -> bool:
    """`'text'` -> `"text"`, as Python and JavaScript write it."""
    for token in ladder.tokens:
        if token.kind == "single":
            body = _ESCAPE.sub(lambda m: "'" if m[1] == "'" else m[0], token.text[1:-1])
            body = re.sub(r'(\\.)|"', lambda m: m[1] or '\\"', body, flags=re.DOTALL)
            token.kind, token.text = "string", f'"{body}"'
            ladder.note("single_quotes")
    return True


def raw_control_chars(ladder: _Ladder) -> bool:
    """A line break or tab inside a string -> its escape."""
    for token in ladder.tokens:
        if token.kind == "string" and _CONTROL.search(token.text):
            token.text = _CONTROL.sub(_control_escape, token.text)
            ladder.note("raw_control_chars")
    return True


def _control_escape(match: re.Match[str]) -> str:
    char = match[0]
    return _CONTROL_NAMES.get(char, f"\\u{ord(char):04x}")


def invalid_escape(ladder: _Ladder) -> bool:
    """`\\'` -> `'`; a regular expression's `\\d` -> `\\\\d`.

    The second only when the string has no `\\b`, `\\f`, `\\n`, `\\r`, `\\t`: then it is open
    whether those were meant as escapes too. Any other invalid escape stays an error.
    """
    for token in ladder.tokens:
        if token.kind != "string" or "\\" not in token.text:
            continue
        escapes = {match[1] for match in _ESCAPE.finditer(token.text)}
        invalid = escapes - set('"\\/bfnrtu')
        if not invalid:
            continue
        doubled = invalid - {"'"}
        if not doubled <= _REGEX_ESCAPES or (doubled and escapes & set("bfnrt")):
            return False
        token.text = _ESCAPE.sub(_fixed_escape, token.text)
        ladder.note("invalid_escape")
    return True


def _fixed_escape(match: re.Match[str]) -> str:
    char = match[1]
    if char == "'":
        return "'"
    return f"\\\\{char}" if char in _REGEX_ESCAPES else match[0]


def unquoted_keys(ladder: _Ladder) -> bool:
    """`{name: 1}` -> `{"name": 1}`; a bare word anywhere else stays an error."""
    tokens = ladder.tokens
    for at, token in enumerate(tokens[:-1]):
        before = tokens[at - 1].text if at else ""
        if token.kind == "word" and tokens[at + 1].text == ":" and before in ("{", ","):
            token.kind, token.text = "string", f'"{token.text}"'
            ladder.note("unquoted_keys")
    return True


def python_literal(ladder: _Ladder) -> bool:
    """`True`, `False`, `None` -> `true`, `false`, `null`."""
    for token in ladder.tokens:
        if token.kind == "word" and token.text in _PYTHON_WORDS:
            token.text = _PYTHON_WORDS[token.text]
            ladder.note("python_literal")
    return True


def trailing_comma(ladder: _Ladder) -> bool:
    """`[1, 2,]` -> `[1, 2]`."""
    tokens = ladder.tokens
    kept = [
        token
        for at, token in enumerate(tokens)
        if token.text != "," or at + 1 == len(tokens) or tokens[at + 1].text not in ("}", "]")
    ]
    if len(kept) != len(tokens):
        ladder.tokens = kept
        ladder.note("trailing_comma")
    return True


def doubled_braces(ladder: _Ladder) -> bool:
    """`{{"name": …}}` -> `{"name": …}`: copied from a format string; never JSON as it stands."""
    tokens = ladder.tokens
    texts = [token.text for token in (*tokens[:2], *tokens[-2:])]
    if len(tokens) >= 4 and texts == ["{", "{", "}", "}"]:
        ladder.tokens = tokens[1:-1]
        ladder.note("doubled_braces")
    return True


STEPS: tuple[Callable[[_Ladder], bool], ...] = (
    *(single_quotes, raw_control_chars, invalid_escape),
    *(unquoted_keys, python_literal, trailing_comma, doubled_braces),
)
"""The text steps in order; one that finds its case ambiguous returns False and ends the ladder."""


def missing_brace(ladder: _Ladder) -> bool:
    """The call's own last `}` is missing; the arguments object and the end tag are there."""
    depth = 0
    for token in ladder.tokens:
        if token.kind == "punctuation":
            depth += (token.text in "{[") - (token.text in "}]")
    if depth == 1 and ladder.tokens[0].text == "{" and ladder.tokens[-1].text == "}":
        ladder.tokens.append(_Token("punctuation", "}"))
        ladder.note("missing_brace")
    return True


def _unescaped_quotes(text: str, book: ToolBook, repairs: list[str]) -> Good | None:
    """`"use "strict"; x"`: only when one reading alone is valid and fits the declared tool."""
    if not book.declared:
        return None

    def call_of(value: dict[str, Any]) -> Good | None:
        outcomes = read_value(copy.deepcopy(value), book, [*repairs, "unescaped_quotes"])
        found = outcomes[0]
        if len(outcomes) != 1 or not isinstance(found, Good):
            return None
        declared = book.properties(found.name)
        known = all(key in declared for key in found.arguments)
        fits = accepts(book.parameters(found.name), found.arguments)
        return found if known and fits else None

    value = read_unescaped(text.strip(), lambda value: call_of(value) is not None)
    return call_of(value) if value is not None else None
