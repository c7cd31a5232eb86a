"""Tools -> the structural tag of their calls as Python, for xgrammar's servers.

See `grammar` for what a structural tag is, and `python_calls` for how a call is written. Arguments
come in the order of their declaration. Tags have no rules of their own, so that each place where
the first argument may stand is written out: a tool with many optional arguments before a required
one is called with a mapping in their place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .python_calls import constants, keywords, may_be_empty

_COMPACT: Mapping[str, Any] = {"max_whitespace_cnt": 1}
_NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}}
_COMMENT = r"# [^\n]{1,100}\n"
_MOST_FIRST = 8


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
    call = _one_of([_call(tool["function"]) for tool in tools])
    each = _sequence([{"type": "regex", "pattern": _COMMENT}, call]) if commented else call
    more = {"type": "star", "content": _sequence([_text(separator), each])}
    return {"type": "structural_tag", "format": _sequence([each, more, _text(end)])}


def _call(function: Mapping[str, Any]) -> dict[str, Any]:
    schema: Mapping[str, Any] = function.get("parameters") or _NO_ARGUMENTS
    return _sequence([_text(f"{function['name']}("), *_arguments(schema), _text(")")])


def _arguments(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    declared = keywords(schema)
    required = set[str](schema.get("required") or ())
    names = list(declared or {})
    # Up to the first one that has to be there.
    firsts = next((at + 1 for at, name in enumerate(names) if name in required), len(names))
    if declared is None or firsts > _MOST_FIRST:
        mapping = {"type": "json_schema", "json_schema": schema, **_COMPACT}
        given = _sequence([_text("**"), mapping])
        return [{"type": "optional", "content": given} if may_be_empty(schema) else given]
    if not names:
        return []
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    written = [
        (f"{name}=", _value({**declared[name], **shared}), name in required) for name in names
    ]
    ways = [
        _sequence([_text(written[at][0]), written[at][1], *map(_further, written[at + 1 :])])
        for at in range(firsts)
    ]
    arguments = _one_of(ways)
    return [arguments if required else {"type": "optional", "content": arguments}]


def _further(argument: tuple[str, dict[str, Any], bool]) -> dict[str, Any]:
    key, value, required = argument
    given = _sequence([_text(f", {key}"), value])
    return given if required else {"type": "optional", "content": given}


def _value(schema: Mapping[str, Any]) -> dict[str, Any]:
    words = list(map(_text, constants(schema)))
    if words and schema.get("type") == "boolean":
        return _one_of(words)
    return _one_of([*words, {"type": "json_schema", "json_schema": schema, **_COMPACT}])


def _one_of(ways: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return ways[0] if len(ways) == 1 else {"type": "or", "elements": list(ways)}


def _sequence(elements: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "sequence", "elements": list(elements)}


def _text(value: str) -> dict[str, Any]:
    return {"type": "const_string", "value": value}
