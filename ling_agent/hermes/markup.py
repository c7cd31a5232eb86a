"""Reads the two XML dialects: Qwen3-Coder's `<function=…>` and Ling 3's `<arg_key>` pairs.

Values are plain text without any escaping, so only the value's own end tag ends it.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from .calls import Bad, Good, Outcome, finish_call, loads
from .repair import repaired
from .schema import ToolBook, accepts, as_mapping, types_of
from .tags import is_partial

Dialect = Literal["qwen", "ling3"]
Status = Literal["more", "done", "broken"]

_BETWEEN = re.compile(
    r"<parameter=(?P<parameter>[^<>\n]{1,128})>"
    r"|(?P<key><arg_key>)|(?P<value><arg_value>)|(?P<done></function>)"
    r"|(?P<close></tool_call\s{0,8}>)"
    r"|(?P<stop><tool_call\s{0,8}>|<think>|<\|(?:im_end|role_end|endoftext|im_start)\|>"
    r"|<role>(?:SYSTEM|HUMAN|ASSISTANT|OBSERVATION)</role>)"
)
_PARTIAL = re.compile(r"<(?:/?[a-z_]{0,12}\s{0,8}|parameter=[^<>\n]{0,128}|\|[a-z_]{0,8}\|?)")
_ENDS = {"parameter": "</parameter>", "key": "</arg_key>", "value": "</arg_value>"}
_SWALLOWED = re.compile(r"</tool_call>\s*<tool_call>")


class MarkupScanner:
    """Resumable scanner behind `<function=name>` or `name<arg_key>`.

    Attributes:
        name: The tool's name as written.
        pairs: Complete (key, raw value) pairs.
        status: `done` behind `</function>` or before `</tool_call>`; `broken` before another block.
    """

    def __init__(self, name: str, dialect: Dialect) -> None:
        self.name = name
        self.pairs: list[tuple[str, str]] = []
        self.status: Status = "more"
        self._dialect: Dialect = dialect
        self._reading = ""  # which value is being read: parameter, key or value
        self._parts: list[str] = []
        self._key: str | None = None

    def scan(self, text: str, pos: int, *, final: bool) -> int:
        """Read on from `pos`; return the position up to which the text was consumed."""
        while self.status == "more":
            before, reading = pos, self._reading
            pos = self._value(text, pos) if self._reading else self._between(text, pos, final)
            if pos == before and reading == self._reading:
                break
        return pos

    def _between(self, text: str, pos: int, final: bool) -> int:
        at = text.find("<", pos)
        if at < 0:
            return len(text)
        match = _BETWEEN.match(text, at)
        if match is None:
            rest = text[at : at + 160]
            growing = at + len(rest) == len(text) and _PARTIAL.fullmatch(rest)
            return at if not final and (growing or is_partial(text, at)) else at + 1
        what = match.lastgroup or ""
        if what == "done":
            self.status = "done"
        elif what == "close":
            self.status = "done" if self._dialect == "ling3" and self._key is None else "broken"
            return at
        elif what == "stop":
            self.status = "broken"
            return at
        else:
            self._reading = what
            if what == "parameter":
                self._key = match["parameter"].strip()
        return match.end()

    def _value(self, text: str, pos: int) -> int:
        end_tag = _ENDS[self._reading]
        at = text.find(end_tag, pos)
        if at < 0:
            keep = _suffix(text, pos, end_tag)
            self._parts.append(text[pos : len(text) - keep])
            return len(text) - keep
        self._parts.append(text[pos:at])
        self._end_value("".join(self._parts))
        self._parts = []
        self._reading = ""
        return at + len(end_tag)

    def _end_value(self, value: str) -> None:
        if self._reading == "key":
            self._key = value.strip()
            return
        if self._reading == "parameter":
            value = value.removeprefix("\n").removesuffix("\n")
        if self._key is not None:
            self.pairs.append((self._key, value))
        self._key = None

    def outcome(self, book: ToolBook, repairs: list[str]) -> Outcome:
        """The call, with each value typed by the schema of its parameter."""
        name = book.normalised(self.name)
        if name is None:
            return Bad("unknown_tool", book.unknown(self.name), self.name)
        if any(_SWALLOWED.search(value) for _, value in self.pairs):
            text = "A parameter value is not closed before the next <tool_call>. Send it again."
            return Bad("invalid_json", text, name)
        repairs = list(repairs) if name == self.name else [*repairs, "name_normalised"]
        properties = book.properties(name)
        root = book.parameters(name)
        arguments: dict[str, Any] = {}
        for key, value in self.pairs:
            schema = as_mapping(properties[key]) if key in properties else None
            arguments[key] = _typed(value, schema, root, declared=schema is not None)
        good: Good = finish_call(name, arguments, book, repairs)
        return good


def _typed(text: str, schema: object, root: object, *, declared: bool) -> object:
    """The value of a parameter, which carries no type of its own.

    The schema decides: text stays text where only a string fits; otherwise the text is read as
    JSON (or as Python or JavaScript writes it, where a type is declared) when that fits. Without
    any schema, text that is JSON is taken as JSON.
    """
    if types_of(schema) == ("string",):
        return text
    found = _decoded(text, ladder=declared)
    if found is None or not (schema is None or accepts(schema, found[0], root)):
        return text
    # Of a string that fits with its quotes, they are a part.
    kept = isinstance(found[0], str) and declared and accepts(schema, text, root)
    return text if kept else found[0]


def _decoded(text: str, *, ladder: bool) -> tuple[Any, list[str]] | None:
    try:
        return loads(text), []
    except ValueError:
        return repaired(text, closed=False) if ladder else None


def _suffix(text: str, pos: int, end_tag: str) -> int:
    """Length of the longest end of `text` that could be the start of `end_tag`."""
    for size in range(min(len(end_tag) - 1, len(text) - pos), 0, -1):
        if end_tag.startswith(text[len(text) - size :]):
            return size
    return 0
