"""The measurement as Markdown and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.report import circumstances, header

from . import script
from .goals import goals, ratio
from .measure import CROWD_GAP_MS, Crowd, Effort, Row
from .registry import BASE, ENTRIES, WAYS, Way

HOW_TO_INSTALL = """\
Contenders that are not installed are left out. To have them all, in an environment of their own:

    python -m venv build/peers
    build/peers/bin/pip install -e . -r benchmarks/requirements-peers.txt
    build/peers/bin/python -m benchmarks.step_overhead"""


def as_json(rows: Sequence[Row], crowds: Mapping[Way, Crowd], effort: Effort) -> dict[str, Any]:
    """Everything that was measured, and the circumstances."""
    return {
        **circumstances(*_distributions(rows)),
        **dataclasses.asdict(effort),
        "steps_a_run": script.STEPS,
        "chunks_a_step": script.CHUNKS,
        "cpu_ms_a_step": {row.name: _row_json(row, _base(rows)) for row in rows},
        "at_once": {
            "gap_ms": CROWD_GAP_MS,
            **{way: dataclasses.asdict(many) for way, many in crowds.items()},
        },
        "goals": [
            {**dataclasses.asdict(goal), "value": _rounded(goal.value), "met": goal.met}
            for goal in goals(rows, crowds)
        ],
    }


def as_text(rows: Sequence[Row], crowds: Mapping[Way, Crowd], effort: Effort) -> str:
    """Tables and goals."""
    lines = [
        header("Client CPU per model step", *_distributions(rows)),
        "",
        f"CPU milliseconds of the client, user and system, a model step. Least of {effort.rounds} "
        f"rounds of {effort.runs} runs; a run is {script.STEPS} steps, a streamed step "
        f"{script.CHUNKS} chunks, {effort.gap_ms:g} ms apart.",
        "",
        "| | unstreamed, ms | of openai | streamed, ms | of openai |",
        "|---|---:|---:|---:|---:|",
        *(_line(row, _base(rows)) for row in rows),
    ]
    if crowds:
        lines += ["", *_crowd_lines(crowds)]
    lines += ["", *(f"- {goal}" for goal in goals(rows, crowds))]
    lines += [f"- {row.name} failed: {row.failure}" for row in rows if row.failure]
    if any(row.versions is None for row in rows):
        lines += ["", HOW_TO_INSTALL]
    return "\n".join(lines)


def _line(row: Row, base: Row | None) -> str:
    title = ENTRIES[row.name].title
    if row.versions is None:
        return f"| {title} | not installed | | | |"
    cells: list[str] = []
    for way in WAYS:
        value, of_base = row.least(way), _of_base(row, base, way)
        missing = "failed" if row.failure else ""
        cells.append(missing if value is None else f"{value:.2f}")
        cells.append("" if of_base is None else f"{of_base:.2f}")
    return f"| {' '.join([title, *row.versions.values()][:2])} | {' | '.join(cells)} |"


def _crowd_lines(crowds: Mapping[Way, Crowd]) -> list[str]:
    count = max(many.runs for many in crowds.values())
    lines = [
        f"{count} runs of ling_agent at once in one process, {CROWD_GAP_MS:g} ms between the "
        f"chunks of a stream (so that a batch takes {_shortest():.0f} seconds at least); memory is "
        "resident, kB a run:",
        "",
        "| | CPU ms a step | one run alone | seconds | peak | left by 1st batch | by 2nd batch |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for way, many in crowds.items():
        word = "unstreamed" if way == "plain" else way
        if many.failure:
            lines.append(f"| {word} | failed: {many.failure} | | | | | |")
            continue
        first, second = many.after_kb
        grown = (many.peak_kb - many.before_kb, first - many.before_kb, second - first)
        memory = " | ".join(f"{value / many.runs:.1f}" for value in grown)
        lines.append(
            f"| {word} | {many.ms:.2f} | {many.alone_ms:.2f} | {many.wall:.1f} | {memory} |"
        )
    return lines


def _shortest() -> float:
    """Seconds of a batch of streamed runs with a client that costs nothing."""
    return script.STEPS * (script.CHUNKS + 2) * CROWD_GAP_MS / 1e3  # usage and [DONE] come on top


def _row_json(row: Row, base: Row | None) -> dict[str, Any]:
    if row.versions is None:
        return {"installed": False}
    figures: dict[str, Any] = {"installed": True, "versions": dict(row.versions)}
    if row.failure:
        figures["failure"] = row.failure
    for way in WAYS:
        figures[way] = {
            "least": _rounded(row.least(way)),
            "median": _rounded(row.median(way)),
            "of_openai": _rounded(_of_base(row, base, way)),
        }
    return figures


def _base(rows: Sequence[Row]) -> Row | None:
    return next((row for row in rows if row.name == BASE), None)


def _of_base(row: Row, base: Row | None, way: Way) -> float | None:
    return ratio(row.least(way), base.least(way)) if base else None


def _distributions(rows: Sequence[Row]) -> list[str]:
    found = {name for row in rows for name in row.versions or () if name != "ling-agent"}
    return sorted(found | {"httpx2"})


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
