"""What was expected, in words: the same ones for pydantic's rules and for JSON Schema's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .problems import short

_BY_RULE = {
    "minimum": "a value greater than or equal to {}",
    "maximum": "a value less than or equal to {}",
    "exclusiveMinimum": "a value greater than {}",
    "exclusiveMaximum": "a value less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "pattern": "text that matches {}",
    "format": "text in the format {}",
}
# pydantic's error type -> the rule of JSON Schema, and where the error's context has the bound.
_RULES = {
    "string_too_short": ("minLength", "min_length"),
    "string_too_long": ("maxLength", "max_length"),
    "too_short": ("minItems", "min_length"),
    "too_long": ("maxItems", "max_length"),
    "string_pattern_mismatch": ("pattern", "pattern"),
    "multiple_of": ("multipleOf", "multiple_of"),
}


def expected_by_schema(rule: str, value: object) -> str:
    """A keyword of JSON Schema and its value, as the object of "expected"."""
    text = _BY_RULE.get(rule, rule + " {}").format(short(value))
    return text.removesuffix("s") if value == 1 and text.endswith(" 1 items") else text


def expected_by_pydantic(kind: str, message: str, context: Mapping[str, Any]) -> str:
    """One of pydantic's errors, as the object of "expected"."""
    rule, bound = _RULES.get(kind, ("", ""))
    if bound in context:
        return expected_by_schema(rule, context[bound])
    for prefix in ("Input should be ", "Input should have ", "Input should "):
        if message.startswith(prefix):
            text = message.removeprefix(prefix).replace("a valid integer", "an integer")
            return f"a value {text}" if text.startswith(("greater", "less")) else text
    return message[:1].lower() + message[1:]
