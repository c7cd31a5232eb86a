"""Formats in which a tool's result can be put before the model, for the loop's ablations.

The product's own is compact JSON, and text as it is. A format changes only what is a list or an
object: with the others it is a text that the tool returns.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from ..errors import ConfigurationError


def _as_it_is(value: Any) -> Any:
    return value


def _indented(value: Any) -> Any:
    if not isinstance(value, dict | list):
        return value
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


def _spaced(value: Any) -> Any:
    """As Python's ``json.dumps`` writes it by default: what most other stacks send."""
    return json.dumps(value, default=str) if isinstance(value, dict | list) else value


def _lines(value: Any) -> Any:
    if not isinstance(value, dict | list):
        return value
    return "\n".join(_listed(value, "")) or "nothing"


def _listed(value: Any, indent: str) -> list[str]:
    """``key: value`` lines, a level of nesting two spaces deeper."""
    items: list[tuple[str, Any]]
    if isinstance(value, dict):
        items = [(f"{key}:", item) for key, item in cast("dict[str, Any]", value).items()]
    else:
        items = [("-", item) for item in cast("list[Any]", value)]
    lines: list[str] = []
    for head, item in items:
        if isinstance(item, dict | list) and item:
            lines += [f"{indent}{head}", *_listed(item, f"{indent}  ")]
        else:
            text = item if isinstance(item, str) else json.dumps(item, default=str)
            lines.append(f"{indent}{head} {text}")
    return lines


FORMATS: dict[str, Callable[[Any], Any]] = {
    "": _as_it_is,
    "compact": _as_it_is,
    "spaced": _spaced,
    "indented": _indented,
    "lines": _lines,
}
"""By name; the empty one is the product's own, which is ``compact``."""


def observation_format(name: str) -> Callable[[Any], Any]:
    """The format of a name: takes what a tool returns, and gives what it returns instead.

    Raises:
        ConfigurationError: There is none.
    """
    if name not in FORMATS:
        raise ConfigurationError(
            f"observation={name!r}: write {', '.join(known for known in FORMATS if known)}"
        )
    return FORMATS[name]
