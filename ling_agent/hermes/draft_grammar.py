"""Tools -> the structural tags of drafted calls, as Python or as a list in JSON, for xgrammar.

See `grammar` for what a structural tag is, and `python_calls` for how a call is written in Python.
Arguments come in the order of their declaration, each with its key: tags have no rules of their
own, so that each place where the first argument may stand is written out. A tool with many optional
arguments before a required one has one mapping in their place.

Two things are as they are because of xgrammar (0.2.8):

- Its rule for a JSON string looks ahead for what comes behind one in JSON. In Python that refuses
  the token ``")``, and a model that would have ended the text there writes on and on. So a text is
  a regular expression here.
- Between the parts of an object it takes one line break for one blank, and a model that writes a
  line break there ends the list behind that call. So the parts are not left to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .python_calls import constants, keywords, may_be_empty

TEXT = r'"([^"\\\x00-\x1f]|\\(["\\/bfnrt]|u[0-9A-Fa-f]{4}))*"'
"""A JSON string."""

_COMPACT: Mapping[str, Any] = {"max_whitespace_cnt": 1}
_NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}}
_COMMENT = r"# [^\n]{1,100}\n"
_MOST_FIRST = 8
_NAMED = frozenset({"title", "description", "default", "examples"})  # says nothing about a value


@dataclass(frozen=True, slots=True)
class _Style:
    """How a call is written.

    Attributes:
        opening: What stands before the arguments, of a tool's name.
        key: What stands before the value, of an argument's name.
        closing: What stands behind the arguments.
        mapping: What stands before and behind arguments that are one mapping.
        value: The format of a value, of its schema.
    """

    opening: Callable[[str], str]
    key: Callable[[str], str]
    closing: str
    mapping: tuple[Callable[[str], str], str]
    value: Callable[[Mapping[str, Any]], dict[str, Any]]


def python_tag(
    tools: Iterable[Mapping[str, Any]], *, separator: str, end: str, commented: bool
) -> dict[str, Any]:
    """The structural tag for calls as Python, and nothing else.

    Args:
        tools: OpenAI tool objects.
        separator: What stands between two calls.
        end: What stands behind the last one.
        commented: A line of comment stands before each.
    """
    call = _one_of([_call(tool["function"], _PYTHON) for tool in tools])
    each = _sequence([{"type": "regex", "pattern": _COMMENT}, call]) if commented else call
    return _joined(each, separator, end)


def list_tag(tools: Iterable[Mapping[str, Any]], *, separator: str, end: str) -> dict[str, Any]:
    """The structural tag for calls as objects of a JSON list that is begun, and nothing else.

    Args:
        tools: OpenAI tool objects.
        separator: What stands between two calls.
        end: What stands behind the last one.
    """
    return _joined(_one_of([_call(tool["function"], _JSON) for tool in tools]), separator, end)


def _joined(each: dict[str, Any], separator: str, end: str) -> dict[str, Any]:
    more = {"type": "star", "content": _sequence([_text(separator), each])}
    return {"type": "structural_tag", "format": _sequence([each, more, _text(end)])}


def _call(function: Mapping[str, Any], style: _Style) -> dict[str, Any]:
    schema: Mapping[str, Any] = function.get("parameters") or _NO_ARGUMENTS
    name, declared = function["name"], keywords(schema)
    required = set[str](schema.get("required") or ())
    names = list(declared or {})
    # Up to the first one that has to be there.
    firsts = next((at + 1 for at, each in enumerate(names) if each in required), len(names))
    none = _text(f"{style.opening(name)}{style.closing}")
    if declared is None or firsts > _MOST_FIRST:
        opening, closing = style.mapping
        given = _sequence([_text(opening(name)), _value(schema), _text(closing)])
        return _one_of([none, given]) if may_be_empty(schema) else given
    if not names:
        return none
    arguments = _arguments(schema, declared, firsts, style)
    if not required:
        arguments = {"type": "optional", "content": arguments}
    return _sequence([_text(style.opening(name)), arguments, _text(style.closing)])


def _arguments(
    schema: Mapping[str, Any],
    declared: Mapping[str, Mapping[str, Any]],
    firsts: int,
    style: _Style,
) -> dict[str, Any]:
    """The arguments, of which one of the `firsts` first ones stands before the others."""
    required = set[str](schema.get("required") or ())
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    written = [
        (style.key(name), style.value({**value, **shared}), name in required)
        for name, value in declared.items()
    ]
    ways = [
        _sequence([_text(written[at][0]), written[at][1], *map(_further, written[at + 1 :])])
        for at in range(firsts)
    ]
    return _one_of(ways)


def _further(argument: tuple[str, dict[str, Any], bool]) -> dict[str, Any]:
    key, value, required = argument
    given = _sequence([_text(f", {key}"), value])
    return given if required else {"type": "optional", "content": given}


def _value(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": schema, **_COMPACT}


def _python_value(schema: Mapping[str, Any]) -> dict[str, Any]:
    words = list(map(_text, constants(schema)))
    if words and schema.get("type") == "boolean":
        return _one_of(words)
    plain, others = _without_text(schema)
    texts = [{"type": "regex", "pattern": TEXT}] if plain else []
    rest = [] if others is None else [_value(others)]
    return _one_of([*words, *texts, *rest])


def _without_text(schema: Mapping[str, Any]) -> tuple[bool, Mapping[str, Any] | None]:
    """Whether any text is a value, and the schema of the values that are none, if there are."""
    says = schema.keys() - _NAMED - {"$defs", "definitions"}
    if says == {"type"}:
        types = [schema["type"]] if isinstance(schema["type"], str) else list(schema["type"])
        others = [name for name in types if name != "string"]
        if len(others) == len(types):
            return False, schema
        return True, {**schema, "type": others} if others else None
    if says == {"anyOf"}:
        options = list(schema["anyOf"])
        others = [each for each in options if not _is_text(each)]
        if len(others) < len(options):
            return True, {**schema, "anyOf": others} if others else None
    return False, schema


def _is_text(schema: object) -> bool:
    return isinstance(schema, Mapping) and _without_text({**schema}) == (True, None)


def _one_of(ways: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return ways[0] if len(ways) == 1 else {"type": "or", "elements": list(ways)}


def _sequence(elements: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "sequence", "elements": list(elements)}


def _text(value: str) -> dict[str, Any]:
    return {"type": "const_string", "value": value}


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


_PYTHON = _Style(
    opening=lambda name: f"{name}(",
    key=lambda name: f"{name}=",
    closing=")",
    mapping=(lambda name: f"{name}(**", ")"),
    value=_python_value,
)
_JSON = _Style(
    opening=lambda name: f'{{"name": {_json(name)}, "arguments": {{',
    key=lambda name: f"{_json(name)}: ",
    closing="}}",
    mapping=(lambda name: f'{{"name": {_json(name)}, "arguments": ', "}"),
    value=_value,
)
