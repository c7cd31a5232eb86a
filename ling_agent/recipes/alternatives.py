"""What would work in place of what does not fit, as options of the command."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import ConfigurationError
from .recipe import Recipe
from .wish import Wish

_SMALL = {"server": "llama.cpp", "model": "ling-mini-2.0", "quant": None, "context": None}
"""The Ling that fits one card with 24 GB."""

_CHANGES: tuple[tuple[Mapping[str, Any], ...], ...] = (
    ({"quant": None},),
    ({"context": None},),
    tuple({"gpus": gpus} for gpus in (2, 3, 4, 8)),
    tuple({"gpu": gpu, "gpus": gpus} for gpus in (1, 2, 4, 8) for gpu in ("h100", "h200")),
    (_SMALL,),
)
"""What is tried, by kind; of each kind the first that fits is told. None leaves it open."""


def other_ways(wish: Wish, find: Callable[[Wish], Recipe | None]) -> list[str]:
    """Options with which it fits: another format, window, number of cards, card, or model.

    Args:
        wish: What does not fit.
        find: Makes the recipe of a wish, or says None when it does not fit.
    """
    ways: list[str] = []
    for kind in _CHANGES:
        for change in kind:
            changed = dataclasses.replace(wish, **change)
            if changed.gpu == wish.gpu and changed.gpus < wish.gpus:
                continue
            found: Recipe | None = None
            with contextlib.suppress(ConfigurationError):  # not run there, or not to be told so
                found = find(changed)
            if found is not None:
                ways.append(_told(change, found))
                break
    return ways


def either(ways: Iterable[str]) -> str:
    """Several ways as one phrase."""
    return " or ".join(ways)


def _told(change: Mapping[str, Any], found: Recipe) -> str:
    """A change as options; what it left open is told as it was found."""
    if change is _SMALL:
        return f"--server {_SMALL['server']} --model {_SMALL['model']}"
    left_open = {"quant": found.launch.format, "context": found.launch.context}
    given = {name: value or left_open[name] for name, value in change.items()}
    return " ".join(f"--{name} {value}" for name, value in given.items())
