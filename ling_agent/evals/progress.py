"""How an evaluation tells how far it is: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol, TextIO

from .benchmark import Case, Outcome

if TYPE_CHECKING:
    from rich.progress import Progress as RichBar
    from rich.progress import TaskID

_MOST_QUIET = 60.0
"""Seconds after which a plain line is due, also before the next tenth."""


class EvalProgress(Protocol):
    """What `evaluate` calls, from one thread."""

    def start(self, label: str, total: int, done: Iterable[Outcome]) -> None:
        """An evaluation of so many cases begins, or goes on behind those that are done."""
        ...

    def update(self, outcome: Outcome, left: float | None) -> None:
        """A case has its outcome; `left` is the estimate in seconds for all that are not done."""
        ...

    def note(self, text: str) -> None:
        """One line that a user should see."""
        ...

    def close(self) -> None:
        """Nothing follows; called once, also after an error."""
        ...


class Estimate:
    """How long the rest takes, from how long cases of the same category took.

    Args:
        left: The cases that are not done.
        done: Those that were done before.
        concurrency: Cases at the same time.
    """

    def __init__(self, left: Iterable[Case], done: Iterable[Outcome], concurrency: int) -> None:
        self._left = Counter(case.category for case in left)
        self._concurrency = concurrency
        self._seconds: defaultdict[str, list[float]] = defaultdict(list)
        for outcome in done:
            self._seconds[outcome.category].append(outcome.seconds)

    def add(self, outcome: Outcome) -> float | None:
        """Count a case; returns the seconds that the others will take, None when nobody knows."""
        self._left[outcome.category] -= 1
        self._seconds[outcome.category].append(outcome.seconds)
        return self.seconds()

    def seconds(self) -> float | None:
        """What the cases that are left will take; a category not yet seen takes what others do."""
        left = +self._left
        if not left:
            return 0.0
        known = {category: statistics.fmean(took) for category, took in self._seconds.items()}
        if not known:
            return None
        others = statistics.fmean(known.values())
        work = sum(known.get(category, others) * cases for category, cases in left.items())
        return work / min(self._concurrency, left.total())


class SilentProgress:
    """Nothing is shown."""

    def start(self, label: str, total: int, done: Iterable[Outcome]) -> None:
        pass

    def update(self, outcome: Outcome, left: float | None) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


class LineEvalProgress:
    """A plain line for each tenth of the cases, and when there was none for a minute.

    Args:
        stream: Where to print; None is standard error.
        clock: Tells seconds.
    """

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._clock = clock
        self._label, self._total = "", 0
        self._done = self._passed = self._tenth = 0
        self._told = 0.0

    def start(self, label: str, total: int, done: Iterable[Outcome]) -> None:
        outcomes = list(done)
        self._label, self._total = label, total
        self._done, self._passed = len(outcomes), sum(o.passed for o in outcomes)
        self._tenth, self._told = self._tenths(), self._clock()
        behind = f", {self._done} done before" if outcomes else ""
        self.note(f"{label}: {total} cases{behind}")

    def update(self, outcome: Outcome, left: float | None) -> None:
        self._done += 1
        self._passed += outcome.passed
        now = self._clock()
        if self._tenths() > self._tenth or now - self._told >= _MOST_QUIET:
            self._tenth, self._told = self._tenths(), now
            self.note(
                f"{self._label}: {self._done} of {self._total} cases, {self._passed} passed"
                f"{estimated(left)}"
            )

    def note(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def close(self) -> None:
        pass

    def _tenths(self) -> int:
        return 10 * self._done // self._total if self._total else 0


class RichEvalProgress:
    """A bar with cases, how many passed and the estimate, on standard error."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._bar: RichBar | None = None
        self._task: TaskID | None = None
        self._passed = 0

    def start(self, label: str, total: int, done: Iterable[Outcome]) -> None:
        from rich.markup import escape
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        outcomes = list(done)
        self._passed = sum(outcome.passed for outcome in outcomes)
        self.close()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}"),
            console=self._console,
        )
        self._bar.start()
        told = f"{self._passed} passed"
        self._task = self._bar.add_task(
            escape(label), total=total, completed=len(outcomes), told=told
        )

    def update(self, outcome: Outcome, left: float | None) -> None:
        self._passed += outcome.passed
        if self._bar is not None and self._task is not None:
            told = f"{self._passed} passed{estimated(left)}"
            self._bar.update(self._task, advance=1, told=told)

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def terminal_eval_progress() -> EvalProgress:
    """A bar when standard error is a terminal, else plain lines."""
    return RichEvalProgress() if sys.stderr.isatty() else LineEvalProgress()


def estimated(left: float | None) -> str:
    """The estimate as the end of a line; empty when there is none, or it is below a second."""
    return f", about {duration(left)} left" if left is not None and left >= 1 else ""


def duration(seconds: float) -> str:
    """Seconds for people: ``8.5 s``, ``45 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
