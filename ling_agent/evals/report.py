"""The report of one evaluation, and of several side by side: Markdown, HTML and a plot."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..errors import StoreError
from .benchmark import Outcome
from .comparison import Comparison, Pair
from .document import Block, Heading, Paragraph, Plot, Table, to_html, to_markdown
from .machine import code_digest
from .plot import Bar, Group, svg
from .progress import duration
from .statistics import Rate
from .summary import Summary, Tally
from .texts import cut

PLOT = "plot.svg"
_IN_MARKDOWN, _IN_HTML = 50, 1000
"""Failures that are listed; ``results.jsonl`` has all."""
_LONGEST = 500
"""Characters of a model's text that are shown."""

HOW_SURE = (
    "Intervals are Wilson's at 95 %: they say what the sample leaves open about the share in all "
    "cases of its kind, not how far this model's answers vary."
)


def write_report(directory: Path, subject: Summary | Comparison) -> tuple[Path, Path]:
    """Write ``report.md``, ``report.html`` and ``plot.svg``.

    Returns:
        The files of the first two.

    Raises:
        StoreError: The directory cannot be written.
    """
    forms = {
        "report.md": to_markdown(_blocks(subject, _IN_MARKDOWN)),
        "report.html": to_html(_blocks(subject, _IN_HTML)),
        PLOT: _plot(subject).svg,
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in forms.items():
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write the report to {directory}: {error.strerror}") from error
    return directory / "report.md", directory / "report.html"


def _blocks(subject: Summary | Comparison, most: int) -> list[Block]:
    if isinstance(subject, Summary):
        return summary_blocks(subject, most_failures=most)
    return comparison_blocks(subject, most_cases=most)


def _plot(subject: Summary | Comparison) -> Plot:
    if isinstance(subject, Summary):
        return _plot_of([""], [subject])
    return _plot_of(subject.labels, subject.summaries)


# -- one evaluation ---------------------------------------------------------------------------


def summary_blocks(summary: Summary, *, most_failures: int) -> list[Block]:
    """The report of one evaluation."""
    manifest = summary.results.manifest
    return [
        Heading(f"{manifest.benchmark} {manifest.benchmark_version}", 1),
        Paragraph(progress_text(summary)),
        Paragraph(f"{macro_text(summary)}. {HOW_SURE}"),
        *map(Paragraph, trials_texts(summary)),
        _plot_of([""], [summary]),
        Heading("Categories"),
        category_table(summary),
        *_repairs(summary),
        *_failures(summary.failures, most_failures),
        Heading("What was evaluated"),
        _settings(summary),
        Heading("When and where", 3),
        _sessions(summary),
    ]


def progress_text(summary: Summary) -> str:
    """How much of the evaluation there is, and how to get the rest."""
    results, total = summary.results, summary.results.manifest.total
    done = len(results.outcomes)
    if results.complete:
        return f"Complete: {_count(done, 'case')}."
    why = f" It stopped: {results.stopped}." if results.stopped else ""
    return (
        f"Not complete: {done} of {total} cases.{why} All figures are of these cases; the same "
        "command goes on."
    )


def macro_text(summary: Summary) -> str:
    """The macro average in words, without a full stop."""
    macro, headline = summary.macro, summary.results.manifest.headline
    if macro is None:
        return "Macro average: none, as no category of the headline was run"
    of = f"{len(summary.averaged)} of the " if len(summary.averaged) < len(headline) else ""
    return f"Macro average over {of}{_count(len(headline), 'headline category')}: {_rate(macro)}"


def trials_texts(summary: Summary) -> list[str]:
    """How often a task passes each time, in words; nothing where each was run once."""
    if not summary.pass_hat:
        return []
    shares = ", ".join(f"pass^{k} {value:.3f}" for k, value in summary.pass_hat.items())
    return [f"The chance that k trials of one task all pass: {shares}."]


def category_table(summary: Summary) -> Table:
    """A row for each category, and one for all of them."""
    header = ("category", "passed", "share", "95 % interval", "score", "repaired", "timeouts")
    header += ("not judged", "prompt tokens", "completion tokens", "median s")
    rows = [_tally_row(name, tally) for name, tally in summary.categories.items()]
    return Table(header, (*rows, _tally_row("all cases", summary.total)))


def _tally_row(name: str, tally: Tally) -> tuple[str, ...]:
    rate = tally.rate
    return (
        name,
        f"{tally.passed}/{tally.cases}",
        f"{rate.value:.3f}",
        f"{rate.low:.3f}–{rate.high:.3f}",
        f"{tally.score:.3f}",
        str(tally.repaired),
        str(tally.timeouts),
        str(tally.errors),
        f"{tally.usage.prompt_tokens:,}",
        f"{tally.usage.completion_tokens:,}",
        f"{tally.median_seconds:.2f}",
    )


def _repairs(summary: Summary) -> list[Block]:
    if not summary.repairs:
        return []
    rows = tuple((name, str(count)) for name, count in summary.repairs.items())
    return [Heading("Repairs"), Table(("repair", "calls"), rows)]


def _failures(failures: Sequence[Outcome], most: int) -> list[Block]:
    if not failures:
        return [Heading("Failures"), Paragraph("None.")]
    reasons = Counter((o.category, cut(_reason(o.verdict), 120)) for o in failures)
    counted = tuple((*pair, str(count)) for pair, count in reasons.most_common(most))
    rows = tuple((o.case, o.category, cut(o.verdict, _LONGEST), _made(o)) for o in failures[:most])
    blocks: list[Block] = [
        Heading("Failures"),
        Table(("category", "reason", "cases"), counted, numbers=2),
        Table(("case", "category", "verdict", "what the model made"), rows, numbers=4),
    ]
    if len(failures) > most:
        rest = len(failures) - most
        blocks.append(Paragraph(f"{rest} more are in results.jsonl."))
    return blocks


def _reason(verdict: str) -> str:
    """The kind of a verdict: what stands before its first colon."""
    return verdict.partition(":")[0].strip()


def _made(outcome: Outcome) -> str:
    """The calls, or the text where there are none."""
    calls = "; ".join(
        f"{call.get('name', '?')}({json.dumps(call.get('arguments'), ensure_ascii=False)})"
        for call in outcome.calls
    )
    return cut(calls or outcome.text or "(nothing)", _LONGEST)


def _settings(summary: Summary) -> Table:
    rows = [
        (name, value if isinstance(value, str) else json.dumps(value))
        for name, value in summary.results.manifest.settings().items()
    ]
    return Table(("setting", "value"), tuple(rows), numbers=2)


def _sessions(summary: Summary) -> Table:
    """One row each time the evaluation was begun or gone on with."""
    rows: list[tuple[str, ...]] = []
    for session in summary.results.manifest.sessions:
        machine = session.get("machine", {})
        where = ", ".join(f"{name}: {value}" for name, value in machine.items())
        code = str(session.get("code", ""))
        same = " (as now)" if code == code_digest() else ""
        rows.append((str(session.get("begun", "")), where, code + same))
    return Table(("begun", "machine", "code"), tuple(rows), numbers=3)


# -- several ----------------------------------------------------------------------------------


def comparison_blocks(comparison: Comparison, *, most_cases: int) -> list[Block]:
    """The report of several evaluations."""
    first = comparison.summaries[0].results.manifest
    lost = _lost(comparison)
    blocks: list[Block] = [
        Heading(f"{first.benchmark}: {_count(len(comparison.labels), 'evaluation')} compared", 1),
        Paragraph(HOW_SURE),
        _plot(comparison),
        Heading("Categories"),
        comparison_table(comparison),
        Heading("Case by case"),
        Paragraph(
            "On the cases that both have. The difference is that of the macro averages, in favour "
            "of the first where it is above 0; p is McNemar's exact test, two-sided: how often "
            "two that are equally good differ at least so much. With many comparisons, some are "
            "small by chance."
        ),
        pair_table(comparison.pairs),
        Heading("What differs"),
        Table(
            ("setting", *comparison.labels),
            tuple((n, *(json.dumps(v) for v in values)) for n, values in comparison.differences),
            numbers=len(comparison.labels) + 1,
        ),
    ]
    if lost:
        header = ("case", "category", "passed by", f"verdict on {comparison.labels[0]}")
        blocks += [
            Heading(f"Cases that {comparison.labels[0]} lost"),
            Table(header, tuple(lost[:most_cases]), numbers=4),
        ]
        if len(lost) > most_cases:
            blocks.append(Paragraph(f"{len(lost) - most_cases} more are in results.jsonl."))
    return blocks


def comparison_table(comparison: Comparison) -> Table:
    """A row for each category, a column for each evaluation."""
    summaries = comparison.summaries
    names = dict.fromkeys(name for summary in summaries for name in summary.categories)
    rows = [(name, *(_share(s.categories.get(name)) for s in summaries)) for name in names]
    macros = [_rate(s.macro) if s.macro else "–" for s in summaries]
    most = max(len(s.pass_hat) for s in summaries)
    used = [f"{s.total.usage.total_tokens:,}" for s in summaries]
    return Table(
        ("category", *comparison.labels),
        (
            ("macro average", *macros),
            *((f"pass^{k}", *(_chance(s, k) for s in summaries)) for k in range(1, most + 1)),
            *rows,
            ("cases run", *(f"{s.total.cases}/{s.results.manifest.total}" for s in summaries)),
            ("repaired", *(str(s.total.repaired) for s in summaries)),
            ("timeouts, not judged", *(f"{s.total.timeouts}, {s.total.errors}" for s in summaries)),
            ("tokens", *used),
            ("seconds of all cases", *(duration(s.total.seconds) for s in summaries)),
        ),
    )


def pair_table(pairs: Sequence[Pair]) -> Table:
    """The first with each of the others."""
    header = ("first", "second", "cases", "both pass", "only first", "only second", "neither")
    header += ("difference", "p")
    return Table(header, tuple(map(_pair_row, pairs)), numbers=2)


def _pair_row(pair: Pair) -> tuple[str, ...]:
    difference = "–" if pair.difference is None else f"{pair.difference:+.3f}"
    counts = (pair.cases, pair.both, pair.only_first, pair.only_second, pair.neither)
    return (pair.first, pair.second, *map(str, counts), difference, f"{pair.p_value:.2g}")


def _lost(comparison: Comparison) -> list[tuple[str, ...]]:
    """Cases that the first one did not pass and another did."""
    rows: list[tuple[str, ...]] = []
    others = [
        (label, {o.case for o in summary.results.outcomes if o.passed})
        for label, summary in zip(comparison.labels[1:], comparison.summaries[1:], strict=True)
    ]
    for outcome in comparison.summaries[0].failures:
        winners = [label for label, passed in others if outcome.case in passed]
        if winners:
            verdict = cut(outcome.verdict, _LONGEST)
            rows.append((outcome.case, outcome.category, ", ".join(winners), verdict))
    return rows


# -- parts ------------------------------------------------------------------------------------


def _plot_of(labels: Sequence[str], summaries: Sequence[Summary]) -> Plot:
    names = dict.fromkeys(name for summary in summaries for name in summary.categories)
    macro = Group(
        "macro average",
        tuple(Bar(s.macro, f"{s.macro.value:.3f}") if s.macro else None for s in summaries),
    )
    groups = [
        Group(name, tuple(_bar(summary.categories.get(name)) for summary in summaries))
        for name in names
    ]
    title = "Share of cases that passed, with 95 % intervals"
    return Plot(svg(title, labels, [macro, *groups]), PLOT, title)


def _bar(tally: Tally | None) -> Bar | None:
    if tally is None:
        return None
    return Bar(tally.rate, f"{tally.passed}/{tally.cases} ({100 * tally.rate.value:.0f} %)")


def _share(tally: Tally | None) -> str:
    if tally is None:
        return "–"
    return f"{tally.passed}/{tally.cases} ({tally.rate.value:.2f})"


def _chance(summary: Summary, k: int) -> str:
    return f"{summary.pass_hat[k]:.3f}" if k in summary.pass_hat else "–"


def _rate(rate: Rate) -> str:
    return f"{rate.value:.3f} ({rate.low:.3f}–{rate.high:.3f})"


def _count(number: int, noun: str) -> str:
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") else f"{number} {noun}s"
