"""From a decoded JSON value to calls: the repairs that look at structure and schema, not at text.

Each repair is a small function that either returns the better value or leaves it; its name goes
into `CallParsed.repairs`. A repair that changes a value's type is kept only when the old value does
not fit the declared parameter and the new one does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast

from .scanner import ARGUMENT_KEYS
from .schema import ToolBook, accepts, one_line
from .types import FailureKind

_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,17})(?:\.\d{1,15})?(?:[eE][+-]?\d{1,2})?")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(slots=True)
class Good:
    """A complete call."""

    name: str
    arguments: dict[str, Any]
    repairs: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class Bad:
    """Not a call, and why."""

    kind: FailureKind
    message: str
    name: str | None = None


Outcome = Good | Bad


def cut_off(name: str | None, *, shorter: bool) -> Bad:
    """A call whose end never came; `shorter` says that the token limit cut it."""
    what = f"The call of {one_line(name)}" if name else "A call"
    how = "complete and shorter." if shorter else "complete."
    text = f"{what} was cut off before it ended and was not run. Send it again, {how}"
    return Bad("incomplete_tool_call", text, name)


def read_value(value: object, book: ToolBook, repairs: list[str]) -> list[Outcome]:
    """All calls of one decoded block: an object, or a list of objects."""
    if isinstance(value, list):
        members = cast("list[object]", value)
        if members and all(isinstance(member, dict) for member in members):
            return [_read_object(member, book, [*repairs, "list_in_tag"]) for member in members]
    if not isinstance(value, dict):
        shown = "a list" if isinstance(value, list) else json.dumps(value)[:40]
        text = f'Expected an object {{"name": …, "arguments": {{…}}}} in <tool_call>, got {shown}.'
        return [Bad("not_a_call_object", text)]
    return [_read_object(cast("dict[str, Any]", value), book, repairs)]


def _read_object(value: object, book: ToolBook, repairs: list[str]) -> Outcome:
    call = cast("dict[str, Any]", value)
    repairs = list(repairs)
    call = _openai_wrapper(call, repairs)
    name = call.get("name")
    if not isinstance(name, str) or not name.strip():
        return Bad("missing_name", 'The call has no "name": a non-empty string is expected.')
    known = book.normalised(name)
    if known is None:
        return Bad("unknown_tool", book.unknown(name), name)
    if known != name:
        repairs.append("name_normalised")
    if encodable(known) != known:
        known = encodable(known)
        repairs.append("lone_surrogate")
    given = [key for key in ARGUMENT_KEYS if key in call]
    if any(call[key] != call[given[0]] for key in given[1:]):
        text = f"The call of {one_line(known)} has both {' and '.join(given)}: send one."
        return Bad("arguments_not_object", text, known)
    arguments = _arguments(call, known, book, repairs)
    if arguments is None:
        text = f'The call of {one_line(known)} has no "arguments": a JSON object is expected.'
        return Bad("arguments_not_object", text, known)
    if not isinstance(arguments, dict):
        got = json.dumps(arguments)[:60]
        text = f'"arguments" of {one_line(known)} must be a JSON object, got {got}.'
        return Bad("arguments_not_object", text, known)
    return finish_call(known, cast("dict[str, Any]", arguments), book, repairs)


def finish_call(name: str, arguments: dict[str, Any], book: ToolBook, repairs: list[str]) -> Good:
    """Coerce what the schema allows and make every string encodable."""
    properties = book.properties(name)
    root = book.parameters(name)
    for key, value in arguments.items():
        if isinstance(value, str) and key in properties:
            arguments[key] = _coerced(value, properties[key], root, repairs)
    return Good(name, _without_surrogates(arguments, repairs), repairs)


def _openai_wrapper(call: dict[str, Any], repairs: list[str]) -> dict[str, Any]:
    """`{"type": "function", "function": {"name": …}}` is the inner object."""
    inner = call.get("function")
    if "name" not in call and isinstance(inner, dict) and set(call) <= {"type", "function", "id"}:
        repairs.append("openai_wrapper")
        return cast("dict[str, Any]", inner)
    return call


def _arguments(call: dict[str, Any], name: str, book: ToolBook, repairs: list[str]) -> object:
    keys = [key for key in ARGUMENT_KEYS if key in call]
    if not keys:
        return _without_arguments_key(call, name, book, repairs)
    value: object = call[keys[0]]
    if keys[0] != "arguments":
        repairs.append("arguments_alias")
    if isinstance(value, str):
        return _arguments_as_string(value, name, book, repairs)
    if value is None and not book.required(name):
        repairs.append("null_arguments")
        return {}
    return value


def _without_arguments_key(
    call: dict[str, Any], name: str, book: ToolBook, repairs: list[str]
) -> object:
    """No arguments key: none were meant, or they stand beside the name."""
    rest = {key: value for key, value in call.items() if key not in ("name", "type", "id")}
    if not rest:
        repairs.append("no_arguments_key")
        return {}
    properties = book.properties(name)
    declared = "name" not in properties and all(key in properties for key in rest)
    if declared and accepts(book.parameters(name), rest):
        repairs.append("flat_arguments")
        return rest
    return None


def _arguments_as_string(value: str, name: str, book: ToolBook, repairs: list[str]) -> object:
    """The arguments object, serialised once more: `"{\\"city\\": \\"Oslo\\"}"`."""
    if not value.strip() and not book.required(name):
        repairs.append("arguments_as_string")
        return {}
    try:
        decoded: object = loads(value)
    except ValueError:
        return value
    if isinstance(decoded, dict):
        repairs.append("arguments_as_string")
        return cast("dict[str, Any]", decoded)
    return value


def _coerced(value: str, schema: object, root: object, repairs: list[str]) -> object:
    """`"20"` for an integer, `"true"` for a boolean, `"[1]"` for an array: lossless or not."""
    if accepts(schema, value, root):
        return value
    for step, convert in COERCIONS.items():
        changed = convert(value)
        if changed is not _NO and accepts(schema, changed, root):
            repairs.append(step)
            return changed
    return value


_NO = object()


def _number_as_string(value: str) -> object:
    text = value.strip()
    if not _NUMBER.fullmatch(text):
        return _NO
    number = loads(text)
    # A float that says another number than the text is a loss: 123456789012345678.5.
    exact = isinstance(number, int) or Decimal(text) == Decimal(repr(number))
    return number if exact else _NO


def _boolean_as_string(value: str) -> object:
    return {"true": True, "false": False}.get(value.strip().lower(), _NO)


def _null_as_string(value: str) -> object:
    return None if value.strip() in ("null", "None") else _NO


def _json_as_string(value: str) -> object:
    try:
        decoded: object = loads(value)
    except ValueError:
        return _NO
    return cast("object", decoded) if isinstance(decoded, list | dict) else _NO


COERCIONS: Mapping[str, Callable[[str], object]] = {
    "number_as_string": _number_as_string,
    "boolean_as_string": _boolean_as_string,
    "null_as_string": _null_as_string,
    "json_as_string": _json_as_string,
}
"""Repair name -> conversion; tried in this order, and only for a value that does not fit."""


def loads(text: str, *, strict: bool = True) -> Any:
    """`json.loads` that refuses NaN and Infinity and reports every problem as ValueError."""
    try:
        return json.loads(text, strict=strict, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:20]} is too large for a number")
    return number


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def encodable(text: str) -> str:
    """`text` with U+FFFD for lone surrogates, which nobody could encode as UTF-8 later."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _without_surrogates(arguments: dict[str, Any], repairs: list[str]) -> dict[str, Any]:
    """The same for every string in the arguments."""
    text = json.dumps(arguments, ensure_ascii=False)
    if text.isascii() or not _SURROGATE.search(text):
        return arguments
    repairs.append("lone_surrogate")
    return cast("dict[str, Any]", json.loads(_SURROGATE.sub("\ufffd", text)))
