"""The measurement: contenders take turns, and the least CPU time of each counts.

Turns, because a busy moment of the machine then hits all of them; the least, because nothing but
other work on the machine makes the same work dearer.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from . import script
from .processes import ContenderError, Worker, serving, working
from .registry import ENTRIES, WAYS, Way

CROWD_GAP_MS = 80.0
"""Between two chunks of one stream when many runs go on.

With the short gap of single runs the client would not keep up with 200 streams, chunks would pile
up and be read together, and a step would look cheaper than it is.
"""


@dataclass(slots=True)
class Row:
    """One contender's figures: CPU milliseconds a model step in each round, by way.

    Attributes:
        name: In the registry.
        versions: Of its distributions; None when it is not installed.
        rounds: By way; what was measured before it failed stays.
        failure: Why there are no figures, or not all.
    """

    name: str
    versions: Mapping[str, str] | None
    rounds: dict[Way, list[float]] = field(default_factory=dict[Way, list[float]])
    failure: str = ""

    def least(self, way: Way) -> float | None:
        return min(self.rounds.get(way, ()), default=None)

    def median(self, way: Way) -> float | None:
        values = self.rounds.get(way)
        return statistics.median(values) if values else None


@dataclass(frozen=True, slots=True)
class Crowd:
    """Many runs at once in one process.

    Attributes:
        runs: How many at once.
        ms: CPU milliseconds a model step; of two batches the lesser.
        alone_ms: The same of one run, on the same server, before the batches.
        wall: Seconds for one batch.
        before_kb: Resident memory after a warm-up run.
        after_kb: The same after each batch, its results dropped.
        peak_kb: Most resident memory.
        failure: Why there are no figures.
    """

    runs: int
    ms: float = 0.0
    alone_ms: float = 0.0
    wall: float = 0.0
    before_kb: int = 0
    after_kb: tuple[int, ...] = ()
    peak_kb: int = 0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured.

    Attributes:
        runs: Of each contender in each round and way, after one that warms up.
        rounds: How often each has its turn.
        gap_ms: Between two chunks of a stream. The processor rests meanwhile and wakes up cold: a
            longer gap makes each chunk dearer, for every contender.
    """

    runs: int
    rounds: int
    gap_ms: float


def measure(names: Sequence[str], effort: Effort, *, verbose: bool = False) -> list[Row]:
    """Let the contenders take turns.

    Args:
        names: Contenders of the registry.
        effort: How often.
        verbose: Whether warnings and tracebacks of the libraries are shown.
    """
    rows = [Row(name, ENTRIES[name].versions()) for name in names]
    with ExitStack() as stack:
        url = stack.enter_context(serving(effort.gap_ms))
        running = [row for row in rows if row.versions is not None]
        workers = {
            row.name: stack.enter_context(working(row.name, url, verbose=verbose))
            for row in running
        }
        report = _progress(len(running) * (effort.rounds + 1))
        for turn in range(effort.rounds + 1):
            for row in running:
                _take_turn(row, workers[row.name], effort.runs if turn else 1, warm_up=not turn)
                report()
    return rows


def crowd(name: str, way: Way, runs: int, *, verbose: bool = False) -> Crowd:
    """Two batches of so many runs at once, in a fresh process."""
    with serving(CROWD_GAP_MS) as url, working(name, url, verbose=verbose) as worker:
        try:
            first = worker.perform("plain", 1)  # warms up without waiting for chunks
            alone = worker.perform(way, 1)
            batches = [worker.perform(way, runs, at_once=True) for _ in range(2)]
        except ContenderError as failed:
            return Crowd(runs, failure=str(failed))
    return Crowd(
        runs,
        ms=min(_ms(batch["cpu"], runs) for batch in batches),
        alone_ms=_ms(alone["cpu"], 1),
        wall=batches[-1]["wall"],
        before_kb=first["rss_kb"],
        after_kb=tuple(batch["rss_kb"] for batch in batches),
        peak_kb=batches[-1]["peak_kb"],
    )


def _take_turn(row: Row, worker: Worker, runs: int, *, warm_up: bool) -> None:
    if row.failure:
        return
    for way in WAYS:
        try:
            cpu: float = worker.perform(way, runs)["cpu"]
        except ContenderError as failed:
            row.failure = str(failed)
            return
        if not warm_up:
            row.rounds.setdefault(way, []).append(_ms(cpu, runs))


def _ms(cpu: float, runs: int) -> float:
    return cpu / runs / script.STEPS * 1e3


def _progress(turns: int) -> Callable[[], None]:
    """Says on standard error how far it is; called after each turn."""
    started, done = time.perf_counter(), 0

    def report() -> None:
        nonlocal done
        done += 1
        left = (time.perf_counter() - started) / done * (turns - done)
        end = "\n" if done == turns else ""
        print(f"\r{done}/{turns} turns, about {left:.0f} s left ", end=end, file=sys.stderr)

    return report
