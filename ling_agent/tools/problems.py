"""What is wrong with a call's arguments, and how it is said: one line per problem."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

Path: TypeAlias = tuple[str | int, ...]

_MAX_LINES = 10
_LONGEST_KEY = 80
_ARTICLES = {
    "integer": "an integer",
    "number": "a number",
    "string": "a string",
    "boolean": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why a value does not fit.

    Attributes:
        path: Keys and indices from the arguments to the value.
        expected: What would have fitted, as the object of "expected".
        value: What came.
        missing: The path is required and absent.
        unknown: The path is not an argument.
        note: A text that says it all, in place of `expected`.
        fixed: The value (a key) is not to be coerced.
        wrong_type: The value is of another type, rather than out of bounds.
    """

    path: Path
    expected: str
    value: Any = None
    missing: bool = False
    unknown: bool = False
    note: str = ""
    fixed: bool = False
    wrong_type: bool = False

    @property
    def coercible(self) -> bool:
        """True when there is a value that another reading might save."""
        return bool(self.path) and not (self.missing or self.unknown or self.fixed)


class ArgumentError(Exception):
    """Arguments that do not fit; `message` has one line per problem. Never leaves the package."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def json_kind(name: str) -> str:
    """`integer` as `an integer`."""
    return _ARTICLES.get(name, name)


def kind_of(value: object) -> str:
    """JSON's word for the type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    return "object" if isinstance(value, dict) else "array"


def short(value: object, limit: int = 80) -> str:
    """Compact JSON of `value`, at most `limit` characters; a string argument is cut as it is."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"


def locate(loc: tuple[int | str, ...], values: object, *, missing: bool = False) -> Path:
    """The path inside `values` of a pydantic location, which also names union members."""
    path: list[str | int] = []
    current: Any = values
    for number, part in enumerate(loc):
        last = number == len(loc) - 1
        if isinstance(current, dict) and (part in current or (last and missing)):
            path.append(part)
            current = current.get(part)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        elif isinstance(current, list) and isinstance(part, int):
            items = cast("list[Any]", current)
            if part < len(items):
                path.append(part)
                current = items[part]
    return tuple(path)


def path_text(path: Path) -> str:
    """`filter.tags[2]`; a key that would break the line, or fill it, as JSON: `filter["a\\nb"]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif not part.isprintable() or len(part) > _LONGEST_KEY:
            text += f"[{json.dumps(part)[:_LONGEST_KEY]}]"  # ASCII: some line breaks are not
        else:
            text += f".{part}" if text else part
    return text


def explain(problems: list[Problem], schema: dict[str, Any]) -> str:
    """One line per path: which argument, what was expected, what came."""
    by_path: dict[Path, list[Problem]] = {}
    for problem in problems:
        by_path.setdefault(problem.path, []).append(problem)
    lines = [_line(path, group, schema) for path, group in by_path.items()]
    if len(lines) > _MAX_LINES:
        rest = len(lines) - _MAX_LINES
        lines = [*lines[:_MAX_LINES], f"and {rest} more"]
    return "\n".join(lines)


def _line(path: Path, group: list[Problem], schema: dict[str, Any]) -> str:
    name = path_text(path)
    first = group[0]
    if first.missing:
        known: Any = schema.get("properties", {}).get(path[0], {}) if len(path) == 1 else {}
        kind = known.get("type") if isinstance(known, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        expected = f"; expected {json_kind(kind)}" if isinstance(kind, str) else ""
        return f"{name}: required, but missing{expected}"
    if first.unknown:
        if len(path) > 1:
            return f"{name}: not a known key"
        names = ", ".join(schema.get("properties", {})) or "none"
        return f"{name}: not an argument of this tool; its arguments: {names}"
    came = f"got {short(first.value)} ({kind_of(first.value)})"
    notes = [item.note for item in group if item.note]
    if notes:
        text = " ".join(notes[0].split())
        return f"{name}: {text}; {came}" if name else text
    expected = " or ".join(dict.fromkeys(item.expected for item in group))
    return f"{name or 'arguments'}: expected {expected}, {came}"
