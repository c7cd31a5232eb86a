"""The model catalogue: alias -> sources, size, SHA-256; download, verify, cache.

>>> from ling_agent import catalog
>>> catalog.lookup("smollm2-135m").size
98362432

Nothing is trusted that was not hashed: a file gets its final name only after its SHA-256 was
compared with the catalogue's. ``entries`` says what there is, ``cache`` where it is kept,
``hub`` and ``mirror`` how the bytes are had, ``download`` in which order.
"""

from __future__ import annotations

from .cache import Verified, cache_dir, cached_path, verify
from .download import pull, resolve
from .entries import CATALOG, DEFAULT_ALIAS, HubSource, MirrorSource, ModelFile, lookup
from .progress import LineProgress, LogProgress, Progress, RichProgress, terminal_progress

__all__ = [
    "CATALOG",
    "DEFAULT_ALIAS",
    "HubSource",
    "LineProgress",
    "LogProgress",
    "MirrorSource",
    "ModelFile",
    "Progress",
    "RichProgress",
    "Verified",
    "cache_dir",
    "cached_path",
    "lookup",
    "pull",
    "resolve",
    "terminal_progress",
    "verify",
]
