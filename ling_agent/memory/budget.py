"""`Budget`: how much of the context window may be used for what; `Meter`: how large texts are.

All sizes are tokens. A meter turns bytes into tokens by what the model's own counts have shown: the
usage of earlier requests, or its tokenizer. Only before the first such count it guesses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

TokenSource = Literal["tokenizer", "usage", "estimate"]
"""Where a count of tokens comes from.

``tokenizer``: the newest request's usage, and the model's own tokenizer for what came after it.
``usage``: the newest request's usage, and an estimate by the same bytes per token for the rest.
``estimate``: by bytes alone; nothing has been counted yet.
"""

_FIRST_GUESS = 1 / 3  # tokens a byte, of mixed English, code and JSON; on the high side
_DENSE = 1  # tokens a byte: of digits; vocabularies of bytes and their pairs have no more
_MARKUP = 8  # tokens around a message

_MAX_OBSERVATION = 16_384
_MIN_OBSERVATION = 192
_MAX_RECORD = 2_048
_MIN_RECORD = 128


@dataclass(frozen=True, slots=True)
class Budget:
    """The parts of a context window.

    Attributes:
        window: Prompt and answer together.
        high: Where a prompt is compacted.
        low: Down to where.
        observation: Longest single observation that is shown whole.
        record: Longest record of dropped steps.
    """

    window: int
    high: int
    low: int
    observation: int
    record: int


def divide(
    window: int,
    *,
    answer: int,
    high_watermark: float,
    low_watermark: float,
    max_observation_tokens: int | None = None,
) -> Budget:
    """Divide a window.

    Args:
        window: Tokens of prompt and answer together.
        answer: Longest answer; a quarter of the window is kept for it at most.
        high_watermark: Share of the window at which the prompt is compacted.
        low_watermark: Share of the window down to which.
        max_observation_tokens: An eighth of the window by default, between 192 and 16,384.
    """
    room = min(answer, window // 4)
    high = min(int(window * high_watermark), window - room)
    low = min(int(window * low_watermark), high * 9 // 10)
    longest = max_observation_tokens
    if longest is None:
        longest = min(max(window // 8, _MIN_OBSERVATION), _MAX_OBSERVATION)
    record = min(max(window // 16, _MIN_RECORD), _MAX_RECORD)
    return Budget(window, high, low, min(longest, high), record)


class Meter:
    """Tokens of texts by their bytes."""

    def __init__(self) -> None:
        self._ratio: float | None = None

    @property
    def ratio(self) -> float:
        """Tokens a byte."""
        return _FIRST_GUESS if self._ratio is None else self._ratio

    @property
    def calibrated(self) -> bool:
        """Whether a count of the model's has been seen."""
        return self._ratio is not None

    def learn(self, tokens: int, size: int) -> None:
        """Take a count of the model's: so many tokens for so many bytes."""
        if tokens > 0 and size > 0:
            self._ratio = min(max(tokens / size, 0.05), 1.5)

    def tokens(self, size: int, messages: int = 1) -> int:
        """Tokens of so many bytes in so many messages, about."""
        return math.ceil(size * self.ratio) + _MARKUP * messages

    def at_most(self, size: int, messages: int = 1) -> int:
        """Tokens that no text of that size exceeds, whatever it is."""
        return math.ceil(size * max(self.ratio, _DENSE)) + _MARKUP * messages

    def bytes(self, tokens: int) -> int:
        """Bytes of so many tokens, about."""
        return int(tokens / self.ratio)
