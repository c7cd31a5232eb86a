"""Benchmarks: how many calls an agent built here gets right, measured by other people's rules.

::

    Benchmark.cases ─► evaluate ─► Benchmark.run ─► Outcome ─► results directory
                                                                    │ read_results
                                   write_report ◄─ summarize, compare ◄┘

A `Benchmark` gives cases and judges them; `evaluate` runs them, keeps every outcome and goes on
with an evaluation that was broken off; the report tells what came out.
"""

from __future__ import annotations

from .benchmark import Benchmark, Case, Outcome, Selection
from .comparison import Comparison, Pair, compare
from .options import EvalOptions
from .report import write_report
from .results import Results, read_results
from .runner import evaluate
from .summary import Summary, Tally, summarize

__all__ = [
    "Benchmark",
    "Case",
    "Comparison",
    "EvalOptions",
    "Outcome",
    "Pair",
    "Results",
    "Selection",
    "Summary",
    "Tally",
    "compare",
    "evaluate",
    "read_results",
    "summarize",
    "write_report",
]
