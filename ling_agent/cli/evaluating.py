"""The evaluations of one ``ling-agent eval``: run one after the other, and told at the end."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from ..cancellation import CancelToken
from ..errors import BackendError
from .interrupts import Interrupts, Press, interrupting
from .tables import one_line, print_table

if TYPE_CHECKING:
    from ..evals.benchmark import Benchmark, Selection
    from ..evals.comparison import Comparison
    from ..evals.document import Table
    from ..evals.results import Results
    from ..evals.summary import Summary


class Evaluation:
    """One command.

    Args:
        options: Of the command line.
        selection: Which cases.
        out: Where the results are kept; those of several in a directory each, below it.
    """

    def __init__(self, options: argparse.Namespace, selection: Selection, out: Path) -> None:
        self._options = options
        self._selection = selection
        self._out = out
        self._token = CancelToken()
        self._results: list[Results] = []
        self._stopped = False

    def run(self, benchmarks: Mapping[str, Benchmark]) -> int:
        """Run them by label; returns 0 when each is complete, else 1.

        Raises:
            KeyboardInterrupt: Ctrl-C, after what was done is kept and told.
        """
        says = "stopping; Ctrl-C again ends the program at once"
        interrupts = Interrupts(Press(self._token.cancel, says))
        with interrupting(interrupts):
            anyio.run(self._all, benchmarks, interrupts)
        if self._results:
            tell(
                self._results,
                list(benchmarks),
                self._out,
                as_json=self._options.json,
                stopped=self._stopped,
            )
        if self._token.cancelled and self._stopped:
            raise KeyboardInterrupt
        return 1 if self._stopped else 0

    async def _all(self, benchmarks: Mapping[str, Benchmark], interrupts: Interrupts) -> None:
        """Until one stops: what ends one would end the others."""
        interrupts.tell_by(_say)
        for label, benchmark in benchmarks.items():
            if label:
                _say(f"{label}:")
            try:
                stopped = await self._one(self._out / label, benchmark)
            except BackendError as error:
                stopped = f"{one_line(str(error))}; to go on, run the same command again"
            if stopped:
                self._stopped = True
                _say(f"stopped: {stopped}")
                return

    async def _one(self, directory: Path, benchmark: Benchmark) -> str:
        """Run one; returns what to say when it stopped before its end."""
        from ..evals.progress import terminal_eval_progress
        from ..evals.runner import evaluate

        try:
            results = await evaluate(
                benchmark,
                self._selection,
                directory,
                concurrency=self._options.concurrency,
                case_timeout=self._options.case_timeout,
                retry_errors=self._options.retry_errors,
                progress=terminal_eval_progress(),
                cancel=self._token,
            )
        finally:
            with anyio.CancelScope(shield=True):
                await benchmark.aclose()
        self._results.append(results)
        if not results.stopped:
            return ""
        return (
            f"{results.stopped}; {len(results.outcomes)} of {results.manifest.total} cases are "
            f"kept in {directory}; to go on, run the same command again"
        )


def tell(
    results: Sequence[Results],
    labels: Sequence[str],
    out: Path,
    *,
    as_json: bool,
    stopped: bool = False,
) -> None:
    """Write the reports, and print what came out.

    Args:
        results: One, or several that are compared.
        labels: Of the evaluations of the command, also of those that were not begun; none for
            results that were read.
        out: Where the report is written; one of each evaluation is in its own directory as well.
        as_json: Print JSON.
        stopped: Whether an evaluation is missing or not complete.

    Raises:
        StoreError: A report cannot be written.
    """
    from ..evals.comparison import compare
    from ..evals.report import write_report
    from ..evals.summary import summarize

    summaries = [summarize(each) for each in results]
    if labels:
        for summary in summaries:
            write_report(summary.results.directory, summary)
    if len(results) == 1:
        data, texts = _one_told(summaries[0], labels)
        # Of one of several, the comparison is still to come.
        files = write_report(results[0].directory if labels else out, summaries[0])
    else:
        comparison = compare(results, list(labels)[: len(results)])
        data, texts = comparison.to_json(), _comparison_told(comparison)
        data["complete"] = data["complete"] and not stopped
        files = write_report(out, comparison)
    if as_json:
        print(json.dumps(data, default=str))  # ASCII: the same in every locale
        return
    for text in texts:
        _print(text)
    print(f"Reports: {files[0]} and {files[1]}")


def _one_told(summary: Summary, labels: Sequence[str]) -> tuple[dict[str, Any], list[str | Table]]:
    from ..evals.report import category_table, macro_text, progress_text, trials_texts

    data = summary.to_json()
    if len(labels) > 1:
        runs: list[Any] = [{"label": labels[0], **data}]
        data = dict[str, Any](complete=False, runs=runs, pairs=[], differences={})
    told = [progress_text(summary), macro_text(summary), *trials_texts(summary)]
    return data, [*told, category_table(summary)]


def _comparison_told(comparison: Comparison) -> list[str | Table]:
    from ..evals.report import comparison_table, pair_table

    return [comparison_table(comparison), pair_table(comparison.pairs)]


def _print(text: str | Table) -> None:
    if isinstance(text, str):
        print(one_line(text))
        return
    rows = [tuple(map(one_line, row)) for row in text.rows]
    print_table(tuple(map(one_line, text.header)), rows)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
