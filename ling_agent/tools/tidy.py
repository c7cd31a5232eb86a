"""Make a generated JSON Schema short: no titles, references inlined, a fixed order of keys."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

Schema = dict[str, Any]

# Keywords whose value is a schema, a list of schemas, or a mapping from names to schemas. All other
# values (default, enum, const, examples) are data and are left alone.
_ONE = (
    "items",
    "additionalProperties",
    "not",
    "if",
    "then",
    "else",
    "contains",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
)
_MANY = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "dependentSchemas", "$defs")
_ORDER = ("$ref", "type", "description", "enum", "const", "properties", "required", "items")
_PREFIX = "#/$defs/"
_MAX_NODES = 2_000  # shared definitions can double at every level; beyond this they stay shared


class _TooLargeError(Exception):
    pass


def tidy_schema(schema: Schema) -> Schema:
    """A copy without `title` and `discriminator`, with definitions inlined.

    A definition that contains itself stays in `$defs` and is referred to. So do all of them when
    inlining would make more than 2,000 subschemas.
    """
    plain = _rewrite(schema, _strip)
    definitions: dict[str, Schema] = plain.pop("$defs", {})
    recursive = {name for name in definitions if _reaches(name, name, definitions, set())}
    try:
        inlined = _inline(plain, definitions, recursive, [0])
        kept = {
            name: _inline(definitions[name], definitions, recursive, [0])
            for name in sorted(recursive)
        }
    except _TooLargeError:
        inlined, kept = plain, definitions
    if kept:
        inlined["$defs"] = kept
    return inlined


def _rewrite(schema: Any, change: Callable[[Schema], Schema]) -> Any:
    """Apply `change` to every subschema, the innermost first."""
    if not isinstance(schema, dict):
        return schema  # `true` and `false` are schemas too
    result: Schema = dict(schema)  # pyright: ignore[reportUnknownArgumentType]
    for key in _ONE:
        if key in result:
            result[key] = _rewrite(result[key], change)
    for key in _MANY:
        if key in result:
            result[key] = [_rewrite(item, change) for item in result[key]]
    for key in _NAMED:
        if key in result:
            result[key] = {name: _rewrite(item, change) for name, item in result[key].items()}
    return change(result)


def _strip(schema: Schema) -> Schema:
    """One subschema without noise and with its keys in the fixed order."""
    kept = {key: value for key, value in schema.items() if key not in ("title", "discriminator")}
    ordered = {key: kept.pop(key) for key in _ORDER if key in kept}
    return {**ordered, **kept}


def _references(schema: Any) -> set[str]:
    found: set[str] = set()

    def note(node: Schema) -> Schema:
        reference = node.get("$ref")
        if isinstance(reference, str) and reference.startswith(_PREFIX):
            found.add(reference.removeprefix(_PREFIX))
        return node

    _rewrite(schema, note)
    return found


def _reaches(start: str, goal: str, definitions: dict[str, Schema], seen: set[str]) -> bool:
    for name in _references(definitions.get(start, {})):
        if name == goal:
            return True
        if name not in seen:
            seen.add(name)
            if _reaches(name, goal, definitions, seen):
                return True
    return False


def _inline(
    schema: Schema, definitions: dict[str, Schema], recursive: set[str], nodes: list[int]
) -> Schema:
    """Replace references by what they name; keywords next to a reference win."""

    def replace(node: Schema) -> Schema:
        nodes[0] += 1
        if nodes[0] > _MAX_NODES:
            raise _TooLargeError
        name = str(node.get("$ref", "")).removeprefix(_PREFIX)
        if name not in definitions or name in recursive:
            return node
        target = _inline(copy.deepcopy(definitions[name]), definitions, recursive, nodes)
        return _strip({**target, **{key: node[key] for key in node if key != "$ref"}})

    return _rewrite(schema, replace)
