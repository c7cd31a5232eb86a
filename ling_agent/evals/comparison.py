"""`Comparison`: several evaluations side by side, and case by case."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from .benchmark import Outcome
from .results import Results
from .statistics import macro_average, mcnemar
from .summary import Summary, summarize, tallies


@dataclass(frozen=True, slots=True)
class Pair:
    """Two evaluations on the cases that both have.

    Attributes:
        first: Label of the first, which the difference is in favour of where it is above 0.
        second: Label of the second.
        both: Cases that both passed.
        only_first: Cases that only the first passed.
        only_second: Cases that only the second passed.
        neither: Cases that neither passed.
        first_macro: Macro average of the first over these cases; None without such categories.
        second_macro: The same of the second.
    """

    first: str
    second: str
    both: int
    only_first: int
    only_second: int
    neither: int
    first_macro: float | None
    second_macro: float | None

    @property
    def cases(self) -> int:
        """The cases that both have."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def difference(self) -> float | None:
        """Macro average of the first less that of the second: its lift."""
        if self.first_macro is None or self.second_macro is None:
            return None
        return self.first_macro - self.second_macro

    @property
    def p_value(self) -> float:
        """Of McNemar's exact test; see `mcnemar`."""
        return mcnemar(self.only_first, self.only_second)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        names = ("first", "second", "cases", "both", "only_first", "only_second", "neither")
        names += ("first_macro", "second_macro", "difference", "p_value")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several evaluations of one benchmark.

    Attributes:
        labels: A short name of each.
        summaries: Each counted.
        pairs: The first with each of the others.
        differences: Settings that are not the same in all: name, and the value in each.
    """

    labels: tuple[str, ...]
    summaries: tuple[Summary, ...]
    pairs: tuple[Pair, ...]
    differences: tuple[tuple[str, tuple[Any, ...]], ...]

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        runs = zip(self.labels, self.summaries, strict=True)
        return {
            "complete": all(summary.results.complete for summary in self.summaries),
            "runs": [{"label": label, **summary.to_json()} for label, summary in runs],
            "pairs": [pair.to_json() for pair in self.pairs],
            "differences": {name: list(values) for name, values in self.differences},
        }


def compare(results: Sequence[Results], labels: Sequence[str] = ()) -> Comparison:
    """Compare the first with each of the others.

    Args:
        results: At least two.
        labels: A short name of each; none takes the names of the directories.

    Raises:
        ConfigurationError: They are not of the same benchmark, or one is there twice.
    """
    benchmarks = {each.manifest.benchmark for each in results}
    if len(results) < 2 or len(benchmarks) > 1:
        raise ConfigurationError(
            "compare at least two evaluations of the same benchmark, not of "
            f"{' and '.join(sorted(benchmarks)) or 'none'}"
        )
    names = tuple(labels) or directory_labels([each.directory for each in results])
    if len(set(names)) < len(results):
        raise ConfigurationError("an evaluation is given twice: give each directory once")
    others = list(zip(names, results, strict=True))[1:]
    return Comparison(
        labels=names,
        summaries=tuple(summarize(each) for each in results),
        pairs=tuple(_pair(names[0], results[0], name, other) for name, other in others),
        differences=_differences(results),
    )


def directory_labels(directories: Sequence[Path]) -> tuple[str, ...]:
    """The paths below the directory that all have in common."""
    full = [os.path.abspath(directory) for directory in directories]
    above = os.path.commonpath([os.path.dirname(path) for path in full])
    return tuple(Path(os.path.relpath(path, above)).as_posix() for path in full)


def _pair(first: str, results: Results, second: str, others: Results) -> Pair:
    theirs = {outcome.case: outcome for outcome in others.outcomes}
    both = [(o, theirs[o.case]) for o in results.outcomes if o.case in theirs]
    counts = [(one.passed, other.passed) for one, other in both]
    return Pair(
        first=first,
        second=second,
        both=counts.count((True, True)),
        only_first=counts.count((True, False)),
        only_second=counts.count((False, True)),
        neither=counts.count((False, False)),
        first_macro=_macro(results, [one for one, _ in both]),
        second_macro=_macro(results, [other for _, other in both]),
    )


def _macro(results: Results, outcomes: list[Outcome]) -> float | None:
    found = tallies(outcomes, ())
    rates = [found[name].rate for name in results.manifest.headline if name in found]
    return macro_average(rates).value if rates else None


def _differences(results: Sequence[Results]) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    settings = [each.manifest.settings() for each in results]
    names = dict.fromkeys(name for each in settings for name in each)
    rows = [(name, tuple(each.get(name) for each in settings)) for name in names]
    return tuple((name, values) for name, values in rows if any(v != values[0] for v in values))
