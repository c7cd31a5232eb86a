"""Cut a long result to a number of tokens, and say so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .rendering import compact, dump

_PROBES = 24
# Of mixed English, code and JSON; on the low side, so that a cut text fits.
_BYTES_PER_TOKEN = 3

CountTokens = Callable[[str], int]


def estimate_tokens(text: str) -> int:
    """Tokens of `text`, roughly: a third of its UTF-8 bytes, rounded up."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_PER_TOKEN)


def render_within(value: Any, limit: int | None, count_tokens: CountTokens | None) -> str:
    """Text of a JSON value in at most `limit` tokens, the note included.

    A list keeps its first items, as valid JSON, and ends in `[cut: 12 of 240 items shown]`. Any
    other text, and a list whose first item is too long, keeps its head and ends in
    `[cut: 1,000 of 5,321 tokens shown]` ("about", when the tokens were estimated). With a limit
    smaller than the note itself, one token and the note are shown.

    Args:
        value: JSON value, as `to_json_value` returns it.
        limit: Tokens; None for no limit.
        count_tokens: The model's tokenizer; None to estimate.
    """
    text = dump(value)
    count = count_tokens or estimate_tokens
    # A token is at least one byte, so short texts need no tokenizer.
    if limit is None or len(text.encode()) <= limit or count(text) <= limit:
        return text
    if isinstance(value, list):
        head = _cut_items(value, limit, count)  # pyright: ignore[reportUnknownArgumentType]
        if head is not None:
            return head
    return cut_text(text, limit, count_tokens)


def cut_text(text: str, limit: int, count_tokens: CountTokens | None) -> str:
    """The head of `text` and a note, together at most `limit` tokens."""
    count = count_tokens or estimate_tokens
    total = count(text)
    if total <= limit:
        return text
    about = "" if count_tokens else "about "
    reserve = count(f"\n[cut: {about}{total:,} of {about}{total:,} tokens shown]") + 1
    budget = max(1, limit - reserve)
    size = _largest(len(text), lambda size: count(text[:size]) <= budget, budget / total)
    shown = count(text[:size])
    return f"{text[:size]}\n[cut: {about}{shown:,} of {about}{total:,} tokens shown]"


def _cut_items(items: list[Any], limit: int, count: CountTokens) -> str | None:
    """The first items that fit, with the note; None when not even one does."""

    def shown(size: int) -> str:
        return f"{compact(items[:size])}\n[cut: {size:,} of {len(items):,} items shown]"

    size = _largest(len(items) - 1, lambda size: count(shown(size)) <= limit, 0.5)
    return dump(shown(size)) if size else None


def _largest(top: int, fits: Callable[[int], bool], guess: float) -> int:
    """The largest size up to `top` that fits, found by bisection from a first guess."""
    low, high = 0, top + 1
    probe = int(top * guess)
    for _ in range(_PROBES):
        if high - low <= 1:
            break
        probe = min(max(probe, low + 1), high - 1)
        if fits(probe):
            low = probe
        else:
            high = probe
        probe = (low + high) // 2
    return low
