"""The project's goals for the cost of a step, and whether one measurement met them.

They are stated with the figures and decide nothing: a benchmark on a busy machine is no test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .measure import Crowd, Row
from .registry import BASE, OURS, PEERS, WAYS, Way

STREAMED_OF_BASE = 0.30
PLAIN_OF_BASE = 0.6
PEERS_OF_OURS = 3.0
CROWD_OF_SINGLE = 1.3


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal and the figure that was measured for it; None when a part of it is missing."""

    text: str
    value: float | None
    bound: float
    at_most: bool

    @property
    def met(self) -> bool | None:
        if self.value is None:
            return None
        return self.value <= self.bound if self.at_most else self.value >= self.bound

    def __str__(self) -> str:
        if self.value is None:
            return f"not measured: {self.text}"
        sign = "≤" if self.at_most else "≥"
        return (
            f"{'met' if self.met else 'missed'}: {self.text} {self.value:.2f} ({sign} {self.bound})"
        )


def ratio(part: float | None, whole: float | None) -> float | None:
    """A quotient of two figures of one measurement, when there are both."""
    return part / whole if part is not None and whole else None


def goals(rows: Sequence[Row], crowds: Mapping[Way, Crowd]) -> list[Goal]:
    """All goals with their figures."""
    by_name = {row.name: row for row in rows}

    def of_ours(name: str, way: Way) -> float | None:
        row, ours = by_name.get(name), by_name.get(OURS)
        return ratio(row.least(way), ours.least(way)) if row and ours else None

    def of_base(way: Way) -> float | None:
        factor = of_ours(BASE, way)
        return 1 / factor if factor else None

    found = [
        Goal("streamed step, of openai's", of_base("streamed"), STREAMED_OF_BASE, True),
        Goal("unstreamed step, of openai's", of_base("plain"), PLAIN_OF_BASE, True),
    ]
    for way in WAYS:
        factors = {name: of_ours(name, way) for name in PEERS}
        known = [(factor, name) for name, factor in factors.items() if factor is not None]
        least, name = min(known, default=(None, "none is installed"))
        text = f"least peer's {_word(way)} step ({name}), of ours"
        found.append(Goal(text, least, PEERS_OF_OURS, False))
    for way, many in crowds.items():
        value = None if many.failure else ratio(many.ms, many.alone_ms)
        text = f"{_word(way)} step of {many.runs} runs at once, of a single run's"
        found.append(Goal(text, value, CROWD_OF_SINGLE, True))
    return found


def _word(way: Way) -> str:
    return "unstreamed" if way == "plain" else way
