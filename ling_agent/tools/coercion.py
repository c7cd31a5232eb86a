"""Read a value as the type that was asked for, when nothing can be lost.

There are two readings. A string that is exactly the JSON text of a fitting value is that value
(`"3"` is 3, `"true"` is true, `"[1, 2]"` is a list); and a number without a fraction is an integer
(3.0 is 3). A reading is tried only where the value does not fit as it is, and is kept only if the
place is then of the right type, so a string that is wanted as a string is never touched.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from .problems import Path, Problem, json_kind, kind_of, path_text, short

_ROUNDS = 4  # a JSON string may hold an object that holds a "3"
_EXACT = 2**53  # above it a float does not name one integer
_PYTHON_WORDS = {"True": True, "False": False, "None": None}
_MISSING: Any = object()

Check = Callable[[dict[str, Any]], "dict[str, Any] | list[Problem]"]


def coerce(
    check: Check, arguments: dict[str, Any], problems: list[Problem]
) -> tuple[dict[str, Any], list[str], dict[str, Any] | list[Problem]]:
    """Try the readings wherever there is a problem.

    Returns:
        The arguments with the readings that were kept, a note for each, and the last result of
        `check`: the validated arguments or the problems that are left.
    """
    notes: list[str] = []
    done: set[Path] = set()
    current: dict[str, Any] = arguments
    result: dict[str, Any] | list[Problem] = problems
    for _ in range(_ROUNDS):
        if not isinstance(result, list):
            break
        options = _options(result, current, done)
        if not options:
            break
        mistyped = {item.path for item in result if item.wrong_type}
        kept: dict[Path, Any] = {}
        for rank in range(max(len(found) for found in options.values())):
            trial = {
                path: found[rank]
                for path, found in options.items()
                if path not in kept and rank < len(found)
            }
            candidate = _replaced(current, {**kept, **trial})
            outcome = check(candidate)
            bad = _bad_paths(outcome, mistyped)
            kept.update((path, value) for path, value in trial.items() if path not in bad)
        done.update(options)
        if not kept:
            break
        notes += [_note(path, _get(current, path), value) for path, value in kept.items()]
        current = _replaced(current, kept)
        result = check(current)
    return current, notes, result


def readings(value: object) -> list[Any]:
    """Other readings of a JSON value that lose nothing, the most literal first."""
    if isinstance(value, float):
        return [int(value)] if _is_whole(value) else []
    if not isinstance(value, str):
        return []
    text = value.strip()
    if text in _PYTHON_WORDS:
        return [_PYTHON_WORDS[text]]
    try:
        parsed: Any = json.loads(text, parse_constant=_refuse, parse_float=_exact_float)
    except (ValueError, RecursionError):
        return []
    if isinstance(parsed, str):
        return []  # a quoted string is still a string
    if isinstance(parsed, float) and _is_whole(parsed):
        return [parsed, int(parsed)]
    return [parsed]


def _is_whole(value: float) -> bool:
    return value.is_integer() and abs(value) <= _EXACT


def _refuse(constant: str) -> float:
    raise ValueError(constant)


def _exact_float(text: str) -> float:
    """The float, if it says the same number as the text."""
    number = float(text)
    try:
        if Decimal(text) != Decimal(repr(number)):
            raise ValueError(text)
    except InvalidOperation:
        raise ValueError(text) from None
    return number


def _options(
    problems: list[Problem], current: dict[str, Any], done: set[Path]
) -> dict[Path, list[Any]]:
    options: dict[Path, list[Any]] = {}
    for problem in problems:
        path = problem.path
        if not problem.coercible or path in options or path in done:
            continue
        found = readings(_get(current, path))
        if found:
            options[path] = found
    return options


def _bad_paths(outcome: dict[str, Any] | list[Problem], mistyped: set[Path]) -> set[Path]:
    """Paths whose own value does not fit; a problem deeper inside may be saved later.

    A value that was of the wrong type and now is out of bounds has got better: the model is better
    told about the bounds.
    """
    if not isinstance(outcome, list):
        return set()
    own = {
        item.path
        for item in outcome
        if not (item.missing or item.unknown) and (item.wrong_type or item.path not in mistyped)
    }
    # Of a union, another member may still object while one has gone deeper: that is progress.
    deeper = {item.path[:size] for item in outcome for size in range(len(item.path))}
    return own - deeper


def _get(values: Any, path: Path) -> Any:
    for part in path:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return _MISSING
    return values


def _replaced(values: dict[str, Any], changes: dict[Path, Any]) -> dict[str, Any]:
    result: Any = copy.deepcopy(values)
    for path, value in changes.items():
        parent = _get(result, path[:-1])
        parent[path[-1]] = value
    return result


def _note(path: Path, old: object, new: object) -> str:
    kind = json_kind(kind_of(new))
    return f"{path_text(path)}: {short(old)} ({kind_of(old)}) was read as {kind}: {short(new)}"
