"""The project's goals for the memory of a long run, and whether one measurement met them.

They are stated with the figures and decide nothing: a benchmark on a busy machine is no test.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from .measure import Figures
from .recall import Asked


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal and the figure that was measured for it.

    Attributes:
        name: What was measured.
        value: The figure; None when it could not be.
        unit: Of the figure.
        bound: What it has to keep.
        at_most: Whether it is a highest or a lowest value.
        detail: What the figure consists of.
    """

    name: str
    value: float | None
    unit: str
    bound: float
    at_most: bool = True
    detail: str = ""

    @property
    def met(self) -> bool | None:
        """Whether it is kept; None when there is no figure."""
        if self.value is None:
            return None
        return self.value <= self.bound if self.at_most else self.value >= self.bound


def goals(figures: Figures) -> list[Goal]:
    """All goals with their figures."""
    return [
        _cpu(figures),
        _size(figures),
        _resume(figures),
        _append(figures),
        _memory(figures),
        *_prefixes(figures),
        _recalled("facts found first, exact terms", figures.exact, 95),
        _recalled("facts found first, paraphrased", figures.paraphrase, 80),
    ]


def _cpu(figures: Figures) -> Goal:
    costs = figures.run.costs
    early, late = costs.early, costs.late
    value = late / early if early and late else None
    detail = f"{early:.2f} ms → {late:.2f} ms" if early and late else ""
    return Goal("client CPU a step, last 100 / steps 50–150", value, "", 1.5, detail=detail)


def _size(figures: Figures) -> Goal:
    run = figures.run
    detail = f"{run.file / 1e6:.2f} MB of {run.told['raw'] / 1e6:.2f} MB text"
    return Goal("file / raw text", run.file / run.told["raw"], "", 1.3, detail=detail)


def _resume(figures: Figures) -> Goal:
    def median(part: str) -> float:
        return statistics.median(each[part] for each in figures.resumed)

    detail = (
        f"load {median('load'):.3f} s, window {median('window'):.3f} s of "
        f"{figures.resumed[0]['messages']:,} messages; imports {median('imports'):.2f} s beside it"
    )
    return Goal("resume", median("total"), "s", 0.5, detail=detail)


def _append(figures: Figures) -> Goal:
    store, bare = figures.appended.store, figures.appended.bare
    mine, least = statistics.median(store) * 1e3, statistics.median(bare) * 1e3
    detail = (
        f"p95 {_p95(store) * 1e3:.2f} ms; bare SQLite {least:.2f} ms (p95 "
        f"{_p95(bare) * 1e3:.2f}), ratio {mine / least:.2f}"
    )
    return Goal("durable append", mine, "ms", 1.0, detail=detail)


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


def _memory(figures: Figures) -> Goal:
    told = figures.run.told["resident"]
    detail = f"{told[max(told, key=int)] / 1e6:.1f} MB at the end" if told else ""
    return Goal("resident memory since step 100", figures.run.growth, "MB", 60, detail=detail)


def _prefixes(figures: Figures) -> list[Goal]:
    run = figures.run
    compactions, changed = len(run.told["compactions"]), run.seen["changed"]
    elsewhere = len(run.elsewhere)
    at_compactions = len(changed) - elsewhere
    per = at_compactions / compactions if compactions else 0.0
    detail = (
        f"{compactions} compactions, {at_compactions} changed prefixes; {run.seen['records']} "
        f"records, {run.seen['tokenized']} prompts counted by the server"
    )
    return [
        Goal("changed prefixes a compaction", per, "", 1.0, detail=detail),
        Goal(
            "changed prefixes elsewhere",
            elsewhere,
            "",
            0,
            detail=f"of {run.seen['requests']:,} requests",
        ),
    ]


def _recalled(name: str, asked: Asked, bound: float) -> Goal:
    hits, count = sum(asked.hits.values()), sum(asked.all.values())
    time = statistics.median(asked.seconds) * 1e3
    detail = f"{hits} of {count}; {time:.1f} ms a search"
    return Goal(name, asked.rate * 100, "%", bound, at_most=False, detail=detail)
