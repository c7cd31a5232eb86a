"""JSON schemas -> those that llguidance enforces to the letter, or why there is none.

llguidance refuses keywords that it does not know, with a few exceptions that are caught here: what
passes is a promise that everything which the grammar takes validates.

An object that lists its properties gets no others: the schemas that a model reads leave
``"additionalProperties": false`` out. It stays open where its properties may be spread over several
subschemas, none of which lists them all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from ...extras import require

STRICT: Mapping[str, Any] = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}
"""White space as the chat templates write it."""

_NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}}
_ANY_OBJECT: Mapping[str, Any] = {"type": "object"}

# Of these llguidance knows the grammar; any other format is an annotation in JSON Schema.
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"}
)
# Their values are data, or names with schemas, and no schemas themselves.
_DATA = frozenset({"const", "default", "enum", "examples"})
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions"})
_DEFINITIONS = frozenset({"$defs", "definitions"})
_NUMBERS = frozenset(
    {"const", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
)
_COMBINED = frozenset({"allOf", "anyOf", "oneOf", "$ref"})

_PLACE = re.compile(r"at \d+\(\d+\): (?:failed to compile JSON schema: )?")
_SOURCE = re.compile(r"\n\s+\d+ \| ")  # with which llguidance begins to quote the grammar
_LONGEST_REASON = 100
_EXACT_DIGITS = 15


def schema_notes(tools: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Which tools' arguments cannot be constrained and why, one line each.

    Args:
        tools: OpenAI tool objects.
    """
    return tuple(argument_schemas(tools)[1])


def argument_schemas(
    tools: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """The schemas of the tools' arguments by name, each one enforceable, and the notes."""
    schemas: dict[str, Mapping[str, Any]] = {}
    notes: list[str] = []
    for tool in tools:
        function = tool["function"]
        name, parameters = function["name"], function.get("parameters") or _NO_ARGUMENTS
        schema = tightened({"type": "object", **parameters})
        problem = "it is no object" if schema["type"] != "object" else why_not(schema)
        if problem:
            notes.append(
                f"the arguments of {name} cannot be constrained ({problem}); "
                "they are checked after decoding"
            )
        schemas[name] = _ANY_OBJECT if problem else schema
    return schemas, notes


def why_not(schema: Mapping[str, Any]) -> str:
    """Why a schema cannot be enforced, in short; empty when it can."""
    for node, _ in _subschemas(schema):
        # Names that no property has may come twice, and count once when they are read.
        if _number(node.get("minProperties")) > 1:
            return "minProperties above 1"
        # Validators divide floats, and find that 0.07 is no multiple of 0.01.
        if _number(node.get("multipleOf")) % 1:
            return "multipleOf of a fraction"
        if not all(_is_exact(node[key]) for key in _NUMBERS & node.keys()):
            return "a number of more than 15 digits"
    matcher = library().LLMatcher
    rule = json_rule("v", schema)
    try:
        rule.encode()
    except UnicodeEncodeError:
        return "half a character"  # a lone surrogate, which no text can hold
    grammar = matcher.grammar_from_lark(f"%llguidance {{}}\nstart: v\n{rule}")
    failed, messages = matcher.validate_grammar_with_warnings(grammar)
    if not failed:
        return ""
    reason = _SOURCE.split(_PLACE.sub("", "; ".join(messages), count=1))[0]
    reason = " ".join(reason.split())
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}…"


def without_impossible(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema without the optional arguments that no value fits.

    Args:
        schema: Of a tool's arguments, as `argument_schemas` gives it.
    """
    properties, required = schema.get("properties"), schema.get("required") or ()
    if not isinstance(properties, Mapping):
        return schema
    declared = cast("Mapping[str, Any]", properties)
    shared = {key: schema[key] for key in _DEFINITIONS & schema.keys()}

    def is_possible(name: str, value: Any) -> bool:
        return (
            name in required or not isinstance(value, Mapping) or not why_not({**value, **shared})
        )

    possible = {name: value for name, value in declared.items() if is_possible(name, value)}
    return {**schema, "properties": possible}


def json_rule(rule: str, schema: Mapping[str, Any], style: Mapping[str, Any] = STRICT) -> str:
    """A rule of a Lark grammar: JSON that satisfies the schema, with white space as ``style``."""
    return f"{rule}: %json {json.dumps({**schema, 'x-guidance': style}, ensure_ascii=False)}\n"


def library() -> Any:
    """The module ``llguidance``."""
    return require("llguidance", extra="llamacpp", why="holding calls to their schema")


def tightened(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as a grammar needs it: closed objects, and only formats that have a grammar."""
    # A definition that is one part of something else must not exclude the other parts.
    parts = any("$ref" in node and part for node, part in _subschemas(schema))
    return _tighten(schema, closing=True, closing_definitions=not parts)


def _tighten(
    schema: Mapping[str, Any], *, closing: bool, closing_definitions: bool
) -> dict[str, Any]:
    def inner(value: Any, *, closing: bool) -> Any:
        if isinstance(value, list):
            return [inner(item, closing=closing) for item in cast("list[Any]", value)]
        if not isinstance(value, Mapping):
            return value
        node = cast("Mapping[str, Any]", value)
        return _tighten(node, closing=closing, closing_definitions=closing_definitions)

    combined = _is_combined(schema)
    changed: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _DATA or (key == "format" and value in _FORMATS):
            changed[key] = value
        elif key in _NAMED and isinstance(value, Mapping):
            named = cast("Mapping[str, Any]", value)
            closed = closing_definitions if key in _DEFINITIONS else True
            changed[key] = {name: inner(item, closing=closed) for name, item in named.items()}
        elif key != "format":
            changed[key] = inner(value, closing=not (key in _COMBINED and combined))
    open_ended = combined or {"additionalProperties", "patternProperties"} & changed.keys()
    if closing and "properties" in changed and not open_ended:
        changed["additionalProperties"] = False
    return changed


def _is_combined(schema: Mapping[str, Any]) -> bool:
    """Whether the properties of one object may be spread over several subschemas."""
    combining = _COMBINED & schema.keys()
    return "allOf" in combining or len(combining) > 1 or bool(combining and "properties" in schema)


def _subschemas(schema: object, *, part: bool = False) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """The schema and all in it, each with whether it describes only a part of an object."""
    if isinstance(schema, list):
        for item in cast("list[object]", schema):
            yield from _subschemas(item, part=part)
    if not isinstance(schema, Mapping):
        return
    node = cast("Mapping[str, Any]", schema)
    combined = _is_combined(node)
    yield node, part or combined
    for key, value in node.items():
        if key in _NAMED and isinstance(value, Mapping):
            for item in cast("Mapping[str, object]", value).values():
                yield from _subschemas(item)
        elif key not in _DATA:
            yield from _subschemas(value, part=key in _COMBINED and (part or combined))


def _is_exact(value: object) -> bool:
    """Whether llguidance reads and writes the numbers in a JSON value as they are."""
    if isinstance(value, Mapping):
        return all(map(_is_exact, cast("Mapping[str, object]", value).values()))
    if isinstance(value, list):
        return all(map(_is_exact, cast("list[object]", value)))
    if isinstance(value, float):
        text = repr(value)
        return "e" not in text and sum(map(str.isdigit, text)) <= _EXACT_DIGITS
    return not isinstance(value, int) or len(str(abs(value))) <= _EXACT_DIGITS


def _number(value: object) -> float:
    return value if isinstance(value, int | float) else 0
