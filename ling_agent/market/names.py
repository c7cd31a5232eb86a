"""Names of graphics cards as a marketplace writes them, and how many of them."""

from __future__ import annotations

import re

_COUNT_PREFIX = re.compile(r"^\s*(\d{1,2})\s*[x×]\s+|^\s*(\d{1,2})[x×](?=[a-z])", re.IGNORECASE)
_COUNT_SUFFIX = re.compile(r"\s+[x×]\s*(\d{1,2})\s*$", re.IGNORECASE)
# Words that do not tell two models apart. Memory sizes are among them: an A100 is an A100.
_NOISE = re.compile(
    r"\b(nvidia|geforce|amd|intel|instinct|tesla|quadro|generation|graphics|video|cards?|gpus?|"
    r"servers?|model|sxm\d?|pcie|nvl|hbm\d?e?|gddr\d\w?|\d+\s*gb)\b",
    re.IGNORECASE,
)


def split_count(name: str) -> tuple[str, int | None]:
    """Split ``"2x NVIDIA GeForce RTX 3090"`` into the name and 2; None without a count."""
    match = _COUNT_PREFIX.match(name)
    if match:
        return name[match.end() :].strip(), int(match.group(1) or match.group(2))
    match = _COUNT_SUFFIX.search(name)
    if match:
        return name[: match.start()].strip(), int(match.group(1))
    return name.strip(), None


def short_name(api_name: str) -> str:
    """The name people use: ``"NVIDIA A100-SXM4-80GB"`` is ``"A100"``."""
    words = _NOISE.sub(" ", split_count(api_name)[0].replace("-", " "))
    return " ".join(words.split()) or api_name.strip()
