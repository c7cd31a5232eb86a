"""GPU names: one spelling for all the ways in which people, models and the API write them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from ling_agent import ToolError
from ling_agent.market import short_name, split_count

__all__ = [
    "ANY_GPU",
    "UnknownGpuError",
    "find_gpu",
    "gpu_key",
    "is_any",
    "short_name",
    "split_count",
]

ANY_GPU = frozenset({"", "any", "all", "none", "null", "any gpu", "all gpus", "gpu", "gpus", "*"})
"""What a model writes when the question names no GPU."""

_SERIES = re.compile(r"^(rtx|gtx)(?=[a-z]?\d)")


class UnknownGpuError(ToolError):
    """A model that the marketplace does not have; the text says so and names the nearest ones."""


def gpu_key(name: str) -> str:
    """What two spellings of the same model share: ``"rtx4090"`` and ``"4090"`` give ``"4090"``."""
    squeezed = re.sub(r"[^a-z0-9]", "", short_name(name).lower())
    return _SERIES.sub("", squeezed)


def is_any(name: str | None) -> bool:
    """Whether `name` means that the model does not matter."""
    return name is None or name.strip().lower() in ANY_GPU


def find_gpu(name: str, known: Iterable[str]) -> str:
    """The known short name that `name` means.

    Args:
        name: Any spelling, with or without brand, series or memory size; a plural is fine.
        known: Short names of the models on the marketplace.

    Raises:
        UnknownGpuError: No such model; the text lists the nearest ones, or all of them.
    """
    by_key = {gpu_key(model): model for model in known}
    key = gpu_key(name)
    for candidate in (key, key.removesuffix("s")):
        if candidate in by_key:
            return by_key[candidate]
    near = [by_key[match] for match in difflib.get_close_matches(key, by_key, n=3, cutoff=0.6)]
    listing = f"Did you mean {' or '.join(near)}? " if near else ""
    raise UnknownGpuError(
        f"None: there is no GPU model {name.strip()!r} on the marketplace. {listing}"
        f"Known models: {', '.join(sorted(by_key.values()))}."
    )
