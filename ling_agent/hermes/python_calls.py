"""Calls written as Python: ``weather(city="Oslo", days=3)``, one to a line.

Small models have read much Python: so written, a list of calls takes fewer tokens than in JSON, and
what has a default is left out as programmers do. Values are JSON but for `True`, `False` and
`None`. Arguments that cannot be keywords are one mapping: ``weather(**{"in-city": "Oslo"})``.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, cast

_NAME = re.compile(r"\s*([^\s(]+)\(\s*")
_WORD = re.compile(r"[^\W\d]\w*")  # of what Python takes, but for rare letters such as "℘"
_KEY = re.compile(rf"(?:\*\*|({_WORD.pattern})=)")
_BETWEEN = re.compile(r"\s*,\s*")
_END = re.compile(r"\s*\)")
_COMMENT = re.compile(r"\s*#[^\n]*(?=\n)")
_CONSTANTS: Mapping[str, Any] = {"True": True, "False": False, "None": None}
_OF_TYPE: Mapping[str, Sequence[str]] = {"boolean": ("True", "False"), "null": ("None",)}
_ALTERNATIVES = frozenset({"type", "anyOf", "oneOf", "allOf", "not", "if", "$ref"})
# A reference that counts only in its place: the schemas of arguments are taken apart.
_ELSEWHERE = re.compile(r'"\$(?:dynamicR|r)ef": "(?!#/(?:\$defs|definitions)/)')
# What a schema of keywords may hold: anything else says more than which keywords there are.
_PLAIN = frozenset(
    {
        *("type", "properties", "required", "title", "description", "examples"),
        *("$defs", "definitions", "$schema", "$id"),
    }
)


def write_call(name: str, arguments: Mapping[str, Any]) -> str:
    """A call as one line of Python.

    Args:
        name: Of the tool.
        arguments: Its arguments as JSON types.
    """
    if not all(map(is_keyword_name, arguments)):
        return f"{name}(**{json.dumps(arguments, ensure_ascii=False)})"
    given = (f"{key}={_written(value)}" for key, value in arguments.items())
    return f"{name}({', '.join(given)})"


def read_calls(text: str, names: Collection[str]) -> Iterator[dict[str, Any]]:
    """The complete calls that a text begins with, as ``{"name": …, "arguments": {…}}``.

    Comments between them are left out; what cannot be read ends them.

    Args:
        text: Calls, and what comes behind.
        names: Of the tools that there are.
    """
    at = 0
    while True:
        while comment := _COMMENT.match(text, at):
            at = comment.end()
        begins = _NAME.match(text, at)
        if begins is None or begins[1] not in names:
            return
        read = _arguments(text, begins.end())
        if read is None:
            return
        arguments, at = read
        yield {"name": begins[1], "arguments": arguments}


def keywords(schema: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]] | None:
    """The schemas of the arguments by their name; None where they cannot be written as keywords.

    Args:
        schema: JSON schema of a tool's arguments.
    """
    # Where none is listed, any may be given.
    properties = schema.get("properties", {} if "additionalProperties" in schema else None)
    closed = schema.get("additionalProperties", False) is False
    if not isinstance(properties, Mapping) or not closed or _ELSEWHERE.search(json.dumps(schema)):
        return None
    declared = cast("Mapping[str, Any]", properties)
    plain = _PLAIN | {"additionalProperties"} >= schema.keys()
    known = all(isinstance(each, Mapping) for each in declared.values())
    required = cast("list[str]", schema.get("required") or [])
    listed = all(name in declared for name in required)
    return declared if plain and known and listed and all(map(is_keyword_name, declared)) else None


def is_keyword_name(name: str) -> bool:
    """Whether Python takes a name as that of an argument."""
    known = _WORD.fullmatch(name) is not None and name.isidentifier()
    return known and not keyword.iskeyword(name)


def may_be_empty(schema: Mapping[str, Any]) -> bool:
    """Whether a call without arguments satisfies the schema of its arguments."""
    return not schema.get("required") and not schema.get("minProperties")


def constants(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """Of `True`, `False` and `None`, those that a value may be, as they are written.

    Args:
        schema: JSON schema of one argument.
    """
    if "enum" in schema or "const" in schema:
        values: Sequence[Any] = schema.get("enum", [schema.get("const")])
        return tuple(word for word, value in _CONSTANTS.items() if any(value is v for v in values))
    if len(_ALTERNATIVES & schema.keys()) != 1:
        return ()  # what fits one of them need not fit the others
    types = schema.get("type", ())
    options: Sequence[Any] = schema.get("anyOf") or schema.get("oneOf") or ()
    nested = (constants({} if isinstance(each, bool) else each) for each in options)
    found = {word for words in nested for word in words}
    for name in [types] if isinstance(types, str) else types:
        found.update(_OF_TYPE.get(name, ()))
    return tuple(word for word in _CONSTANTS if word in found)


def _arguments(text: str, at: int) -> tuple[dict[str, Any], int] | None:
    arguments: dict[str, Any] = {}
    first = True
    while True:
        if end := _END.match(text, at):
            return arguments, end.end()
        if not first:
            between = _BETWEEN.match(text, at)
            if between is None:
                return None
            at = between.end()
        first = False
        key = _KEY.match(text, at)
        read = None if key is None else _value(text, key.end())
        if key is None or read is None:
            return None
        value, at = read
        if key[1] is not None:
            arguments[key[1]] = value
        elif isinstance(value, dict):
            arguments |= cast("dict[str, Any]", value)
        else:
            return None


def _value(text: str, at: int) -> tuple[Any, int] | None:
    for word, value in _CONSTANTS.items():
        if text.startswith(word, at):
            return value, at + len(word)
    return json_value(text, at)


def json_value(text: str, at: int) -> tuple[Any, int] | None:
    """The JSON value that stands at a place of a text, and where it ends; None where none does.

    Args:
        text: With anything behind the value.
        at: Index of its first character.
    """
    try:
        value, at = json.JSONDecoder().raw_decode(text, at)
        # What cannot be written again is no JSON, such as half a character.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    return value, at


def _written(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)
