"""A tool's result as the text that the model reads: rendered once, the same each time."""

from __future__ import annotations

import base64
import dataclasses
import enum
import json
import math
from collections import deque
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import PurePath
from typing import Any, cast
from uuid import UUID

NO_RESULT = "done (no result)"
_MAX_DEPTH = 100
_SMALL_BITS = 2_048  # fewer than the digits that Python writes under its strictest limit, 640


class RenderError(Exception):
    """A result without a text form; the text says what to return instead."""


def render(value: object, *, tool: str = "") -> str:
    """The text of a result.

    A `str` is taken as it is, `None` is `done (no result)`, and everything else is compact JSON:
    pydantic models, dataclasses, dicts (in their own order), lists, tuples, sets (sorted), named
    tuples (as objects). Enum members are their values; dates, `Decimal`, `UUID` and paths are
    strings (without quotes when they are the whole result); bytes are UTF-8 text, or else base64;
    NaN and infinities are the strings `NaN`, `Infinity` and `-Infinity`.

    Raises:
        RenderError: The value, or something in it, has no text form.
    """
    return dump(to_json_value(value, tool=tool))


def to_json_value(value: object, *, tool: str = "") -> Any:
    """`value` as JSON's own types; see `render` for the rules."""
    try:
        return _plain(value, 0)
    except RenderError:
        raise
    except _NoFormError as error:
        where = f"tool '{tool}'" if tool else "the tool"
        raise RenderError(f"{where} returned {error}") from None
    except Exception as error:
        where = f"tool '{tool}'" if tool else "the tool"
        raise RenderError(
            f"{where} returned a {type(value).__name__} whose serializer failed "
            f"({type(error).__name__}); fix it or return str"
        ) from None


def dump(value: Any) -> str:
    """Text of a JSON value: a string as it is, `None` as a sentence, the rest as compact JSON."""
    if value is None:
        return NO_RESULT
    return _encodable(value if isinstance(value, str) else compact(value))


def compact(value: Any) -> str:
    """Compact JSON in readable Unicode."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class _NoFormError(Exception):
    """The end of a sentence that starts with "tool 'x' returned"."""


def _plain(value: object, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise _NoFormError(
            "a value that is nested too deeply or contains itself: return a flat value"
        )
    if isinstance(value, enum.Enum):
        return _plain(value.value, depth + 1)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return _integer(int(value))
    if isinstance(value, float):
        return _number(float(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return _bytes(bytes(cast("bytes", value)))
    if isinstance(value, UUID | PurePath):
        return str(value)
    return _container(value, depth)


def _container(value: object, depth: int) -> Any:
    serializer = getattr(type(value), "__pydantic_serializer__", None)
    if serializer is not None:
        # The model's own rules in JSON mode; the Python form tells which lists were sets.
        return _settled(
            serializer.to_python(value, mode="json"), serializer.to_python(value), depth + 1
        )
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            item.name: _plain(getattr(value, item.name), depth + 1)
            for item in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return _mapping(cast("Mapping[Any, Any]", value), depth)
    as_dict: Any = getattr(value, "_asdict", None)
    if isinstance(value, tuple) and as_dict is not None:
        return _mapping(as_dict(), depth)
    if isinstance(value, list | tuple | deque):
        items = cast("list[Any]", value)
        return [_plain(item, depth + 1) for item in items]
    if isinstance(value, AbstractSet):
        return _sorted([_plain(item, depth + 1) for item in cast("AbstractSet[Any]", value)])
    return _leaf(value)


def _mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, item in value.items():
        name = _plain(key, depth + 1)
        if isinstance(name, list | dict):
            raise _NoFormError(f"a dict with a {type(key).__name__} as a key: use str keys")
        text = name if isinstance(name, str) else compact(name)
        if text in result:
            raise _NoFormError(f"a dict with two keys that read {text!r}: use str keys")
        result[text] = _plain(item, depth + 1)
    return result


def _settled(value: Any, original: Any, depth: int) -> Any:
    """A model's JSON form with its sets sorted and its NaNs spelled out."""
    if depth > _MAX_DEPTH:
        raise _NoFormError(
            "a value that is nested too deeply or contains itself: return a flat value"
        )
    if isinstance(value, int) and not isinstance(value, bool):
        return _integer(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        before: list[Any] = [None] * len(items)
        if isinstance(original, Mapping) and len(cast("Mapping[Any, Any]", original)) == len(items):
            before = list(cast("Mapping[Any, Any]", original).values())
        return {
            key: _settled(item, old, depth + 1)
            for (key, item), old in zip(items.items(), before, strict=True)
        }
    if isinstance(value, list):
        members = cast("list[Any]", value)
        if isinstance(original, AbstractSet):
            return _sorted([_settled(item, None, depth + 1) for item in members])
        olds: list[Any] = [None] * len(members)
        if isinstance(original, list | tuple) and len(cast("list[Any]", original)) == len(members):
            olds = list(cast("list[Any]", original))
        return [_settled(item, old, depth + 1) for item, old in zip(members, olds, strict=True)]
    return value


def _sorted(items: list[Any]) -> list[Any]:
    """Numbers by size, everything else by its JSON text: an order that no hash seed changes."""

    def key(item: Any) -> tuple[int, float, str]:
        if isinstance(item, int | float) and not isinstance(item, bool):
            try:
                return (0, float(item), compact(item))
            except OverflowError:
                return (0, math.inf if item > 0 else -math.inf, compact(item))
        return (1, 0.0, compact(item))

    return sorted(items, key=key)


def _integer(value: int) -> int:
    """The integer itself, unless Python refuses to write its digits."""
    if value.bit_length() > _SMALL_BITS:
        try:
            str(value)
        except ValueError:
            digits = value.bit_length() * 3 // 10
            raise _NoFormError(f"an integer of about {digits:,} digits: return str") from None
    return value


def _number(value: float) -> float | str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()


def _leaf(value: object) -> Any:
    """Dates, decimals, URLs and the like, as pydantic writes them."""
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    # pydantic would run a generator to its end, however long that is.
    if not isinstance(value, Iterator | type) and not callable(value):
        try:
            return to_jsonable_python(value)
        except (PydanticSerializationError, ValueError, TypeError):
            pass
    name = type(cast("object", value)).__name__
    article = "an" if name[:1].lower() in "aeiou" else "a"
    raise _NoFormError(
        f"{article} {name}, which has no text form: return str, a dict, a dataclass or a "
        "pydantic model"
    )


def _encodable(text: str) -> str:
    """`text` without lone surrogates, which no request body can carry."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
