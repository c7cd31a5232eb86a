"""The size of a served model, as far as its name tells: ``Qwen2.5-0.5B`` has half a billion."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s?([bm])(?![a-z0-9])", re.IGNORECASE)
_SCALE = {"b": 1_000_000_000, "m": 1_000_000}


def parameters_of(*names: str) -> int | None:
    """Number of weights by the first name that tells; None when none does.

    Args:
        names: Of a model, or paths to it; only the last part of a path counts.
    """
    for name in names:
        match = _SIZE.search(name.rstrip("/").rpartition("/")[2])
        if match:
            return round(float(match[1]) * _SCALE[match[2].lower()])
    return None
