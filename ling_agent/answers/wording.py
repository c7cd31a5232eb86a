"""What is wrong with an answer, said as it is said of a call's arguments: one line per path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..hermes.schema import as_mapping
from ..tools.problems import Path, Problem, json_kind, kind_of, path_text, short
from .form import Form

_MOST_LINES = 10
_WHOLE = "the answer"


def explain_answer(problems: list[Problem], form: Form) -> tuple[str, ...]:
    """One line per path: which field, what was expected, what came."""
    by_path: dict[Path, list[Problem]] = {}
    for problem in problems:
        # The check always sees the wrapped value; a model is only told about keys that it writes.
        path = problem.path if form.wrapped else problem.path[1:]
        by_path.setdefault(path, []).append(problem)
    lines = [_line(path, group, form.schema) for path, group in by_path.items()]
    if len(lines) > _MOST_LINES:
        lines = [*lines[:_MOST_LINES], f"and {len(lines) - _MOST_LINES} more"]
    return tuple(lines)


def several(values: list[Any]) -> str:
    """The line for an answer that says different things."""
    shown = " and ".join(short(value, 60) for value in values[:3])
    more = f" and {len(values) - 3} more" if len(values) > 3 else ""
    return f"{_WHOLE}: expected one value, got {len(values)} that fit: {shown}{more}"


def broken(line: int, column: int, what: str, near: str) -> str:
    """The line for JSON that cannot be read."""
    return (
        f"{_WHOLE}: expected JSON, which is broken at line {line} column {column}: {what}, near "
        f"{short(near)}"
    )


def repeated(key: str) -> str:
    """The line for an object that says two things under one key."""
    return f"{_WHOLE}: expected each key once, got the key {short(key)} with different values"


def _line(path: Path, group: list[Problem], schema: Mapping[str, Any]) -> str:
    name = path_text(path) or _WHOLE
    first = group[0]
    if first.missing:
        kind = _at(path, schema).get("type")
        expected = f"; expected {json_kind(kind)}" if isinstance(kind, str) else ""
        return f"{name}: required, but missing{expected}"
    if first.unknown:
        known = ", ".join(_at(path[:-1], schema).get("properties", {})) or "none"
        return f"{name}: not a known key; the keys here: {known}"
    came = f"got {short(first.value)} ({kind_of(first.value)})"
    notes = [item.note for item in group if item.note]
    if notes:
        return f"{name}: {' '.join(notes[0].split())}; {came}"
    expected = " or ".join(dict.fromkeys(item.expected for item in group))
    return f"{name}: expected {expected}, {came}"


def _at(path: Path, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The subschema at a path, as far as plain keywords lead; empty behind a union."""
    definitions: Mapping[str, Any] = schema.get("$defs", {})
    node = schema
    for part in path:
        if isinstance(part, int):
            node = as_mapping(node.get("items"))
        else:
            node = as_mapping(as_mapping(node.get("properties")).get(part))
        if "$ref" in node:
            node = as_mapping(definitions.get(str(node["$ref"]).removeprefix("#/$defs/")))
    return node
