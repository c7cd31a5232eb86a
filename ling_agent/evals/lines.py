"""`Outcome` as a line of JSON, and back. ASCII, so that no text of a model can break a line."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, cast

from ..results import Usage
from .benchmark import Outcome

_FIELDS = {field.name for field in dataclasses.fields(Outcome)}
_USAGE = {field.name for field in dataclasses.fields(Usage)}


def to_line(outcome: Outcome) -> str:
    """One line, without its end."""
    data = {name: getattr(outcome, name) for name in sorted(_FIELDS - {"usage"})}
    data["usage"] = {name: getattr(outcome.usage, name) for name in sorted(_USAGE)}
    return json.dumps(plain(data))


def from_line(line: str | bytes) -> Outcome:
    """The outcome of a line.

    Raises:
        ValueError: It is no such line, or only a part of one.
    """
    data = json.loads(line)
    if not isinstance(data, dict):
        raise ValueError("not an object")
    fields = cast("dict[str, Any]", data)
    missing = {"case", "category", "passed", "score", "verdict", "usage"} - fields.keys()
    if missing:
        raise ValueError(f"it has no {', '.join(sorted(missing))}")
    usage = {name: value for name, value in fields.pop("usage").items() if name in _USAGE}
    known = {name: value for name, value in fields.items() if name in _FIELDS}
    known["calls"] = tuple(known.get("calls", ()))
    known["repairs"] = tuple(known.get("repairs", ()))
    try:
        return Outcome(usage=Usage(**usage), **known)
    except TypeError as error:
        raise ValueError(str(error)) from None


def plain(value: Any) -> Any:
    """A value as JSON types, whatever a judge puts into its details."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        entries = cast("Mapping[Any, Any]", value)
        return {str(key): plain(entry) for key, entry in entries.items()}
    if isinstance(value, list | tuple | set | frozenset):
        several = cast("list[Any]", value)
        ordered = sorted(several, key=repr) if isinstance(value, set | frozenset) else several
        return [plain(entry) for entry in ordered]
    return repr(value)
