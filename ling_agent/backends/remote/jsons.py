"""JSON in and out, by pydantic-core: a third of the standard library's time for small events.

It does not take lone surrogates, which models write and tools return; there the standard library
helps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias, cast

from pydantic_core import from_json, to_json

Json: TypeAlias = Mapping[str, Any]


def read_json(data: bytes | str) -> Any:
    """The value.

    Raises:
        ValueError: Not JSON, or not UTF-8; the message says where.
    """
    try:
        return from_json(data)
    except ValueError:
        if isinstance(data, bytes):
            try:
                data = data.decode()
            except UnicodeDecodeError as error:
                raise ValueError(f"invalid unicode at byte {error.start}") from None
        return json.loads(data)


def write_json(value: Any) -> bytes:
    """The value as JSON in UTF-8; what UTF-8 does not have becomes a question mark."""
    try:
        return to_json(value)
    except ValueError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def as_object(value: object) -> Json:
    """The value if it is an object, else an empty one."""
    return cast("Json", value) if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []
