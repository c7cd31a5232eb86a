"""What a model reads behind its task: in which form the answer is to be written."""

from __future__ import annotations

import json
from typing import Any

from .form import KEY, Form

_MOST_CHOICES = 32


def hint_for(form: Form) -> str:
    """A short text with the schema as compact JSON; of a choice, it says the values, too.

    The same bytes each time: the order of keys is the type's own.
    """
    schema = _compact(form.schema)
    choices = _choices(form)
    if choices:
        shown = " or ".join(f'{{"{KEY}":{_compact(value)}}}' for value in choices)
        text = f"Write your final answer as JSON, without any other text: {shown}."
    else:
        text = "Write your final answer as one JSON object, without any other text."
    return f"{text}\nIt must fit this JSON schema: {schema}"


def _choices(form: Form) -> list[Any]:
    """The values of a type that has only a few."""
    if not form.wrapped:
        return []
    inner: Any = form.schema["properties"][KEY]
    if "const" in inner:
        return [inner["const"]]
    values: list[Any] = inner.get("enum", [])
    return values if len(values) <= _MOST_CHOICES else []


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
