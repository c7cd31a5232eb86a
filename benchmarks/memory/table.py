"""The figures as Markdown and as JSON."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..report import circumstances, header
from .goals import Goal, goals
from .measure import Costs, Figures, PeerRun
from .peers import PEERS
from .recall import Asked

HOW_TO_INSTALL = """\
The other libraries go into an environment of their own:
    python -m venv build/peers
    build/peers/bin/pip install -e . -r benchmarks/requirements-peers.txt
    build/peers/bin/python -m benchmarks.memory --peers"""


def as_text(figures: Figures, *, verbose: bool = False) -> str:
    """Tables; with what was not found when ``verbose``."""
    run = figures.run
    tokens = run.seen["largest"]
    lines = [
        header("Memory of a long run", "httpx2"),
        "",
        f"{figures.steps:,} steps, {run.told['entries']:,} entries, "
        f"{run.told['raw'] / 4e6:.2f} M tokens (4 bytes each), largest prompt {tokens:,} tokens; "
        f"{run.told['wall']:.0f} s in all. CPU is the client's, user and system, all threads.",
        "",
        "| | measured | must | ok | |",
        "|---|---:|---:|---|---|",
        *map(_line, goals(figures)),
        "",
        *_in_memory(figures),
        "",
        "Compactions:",
        "",
        *_compactions(figures),
    ]
    if figures.peers:
        lines += ["", *_peers(figures)]
    if verbose:
        lines += ["", *_misses("exact terms", figures.exact)]
        lines += ["", *_misses("paraphrase", figures.paraphrase)]
    return "\n".join(lines)


def _line(goal: Goal) -> str:
    sign = "≤" if goal.at_most else "≥"
    value = "not measured" if goal.value is None else f"{goal.value:.2f} {goal.unit}".strip()
    met = {True: "yes", False: "no", None: ""}[goal.met]
    bound = f"{sign} {goal.bound:g} {goal.unit}".strip()
    return f"| {goal.name} | {value} | {bound} | {met} | {goal.detail} |"


def _in_memory(figures: Figures) -> list[str]:
    memory = figures.in_memory
    steps = len(memory.told["cpu"])
    ours = figures.run.costs.first(steps)
    return [
        f"CPU milliseconds a step of the first {steps:,} steps, early (50–150) → late (last 100):",
        "",
        f"- `SQLiteStore`: {_arrow(ours)}",
        f"- `InMemoryStore`: {_arrow(memory.costs)}",
    ]


def _arrow(costs: Costs) -> str:
    early, late = costs.early, costs.late
    return "too few steps" if early is None or late is None else f"{early:.2f} → {late:.2f}"


def _compactions(figures: Figures) -> list[str]:
    changed = {change["request"]: change for change in figures.run.seen["changed"]}
    lines: list[str] = []
    for compaction in figures.run.told["compactions"]:
        change = changed.get(compaction["step"] + 1)
        where = f"prefix kept up to message {change['message']:,}" if change else "prefix kept"
        what = f"{compaction['stubs']} shortened, {compaction['dropped']} entries dropped"
        by = f", record by {compaction['by']}" if compaction["by"] else ""
        lines.append(
            f"- after step {compaction['step']:,}: {compaction['reason']}; {what}{by}; {where}"
        )
    lines += [
        f"- request {change['request']:,}: lost its prefix WITHOUT a compaction, from message "
        f"{change['message']:,} of {change['messages']:,}"
        f"{', other tools' if change['tools'] else ''}{', a record' if change['record'] else ''}"
        for change in figures.run.elsewhere
    ]
    return lines or ["- none"]


def _peers(figures: Figures) -> list[str]:
    lines = [
        "Memory of other libraries alone, without a server, on the same steps:",
        "",
        "| | steps | raw text | file | file / raw | CPU ms a step, early → late |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, run in figures.peers.items():
        title = PEERS[name].title
        if run is None:
            lines.append(f"| {title} | not installed | | | | |")
            continue
        lines.append(_peer(title, run))
    if any(run is None for run in figures.peers.values()):
        lines += ["", HOW_TO_INSTALL]
    bounded = PEERS["langgraph"]
    return [*lines, "", f"langgraph's file is quadratic: it is given {bounded.most} steps at most."]


def _peer(title: str, run: PeerRun) -> str:
    version = next(iter(run.versions.values()))
    return (
        f"| {title} {version} | {run.steps:,} | {run.raw / 1e6:.2f} MB | {run.file / 1e6:.1f} MB | "
        f"{run.file / run.raw:.2f} | {_arrow(run.costs)} |"
    )


def _misses(name: str, asked: Asked) -> list[str]:
    by_kind = ", ".join(f"{kind} {asked.hits[kind]}/{count}" for kind, count in asked.all.items())
    lines = [f"Found first by {name}: {by_kind}."]
    for miss in asked.misses:
        place = f"place {miss.place}" if miss.place else "not among the first"
        lines.append(f"- {miss.query!r} ({place}): {miss.fact!r}; first was {miss.found!r}")
    return lines


def as_json(figures: Figures) -> dict[str, Any]:
    """The same as one object."""
    told = {k: v for k, v in figures.run.told.items() if k != "cpu"}
    return {
        **circumstances("httpx2"),
        "steps": figures.steps,
        "goals": [{**dataclasses.asdict(goal), "met": goal.met} for goal in goals(figures)],
        "run": {**told, "file": figures.run.file, **_costs(figures.run.costs)},
        "server": figures.run.seen,
        "in_memory": _costs(figures.in_memory.costs),
        "resume": figures.resumed,
        "misses": {
            "exact": [dataclasses.asdict(miss) for miss in figures.exact.misses],
            "paraphrase": [dataclasses.asdict(miss) for miss in figures.paraphrase.misses],
        },
        "peers": {
            name: run
            and {
                "versions": run.versions,
                "steps": run.steps,
                "raw": run.raw,
                "file": run.file,
                **_costs(run.costs),
            }
            for name, run in figures.peers.items()
        },
    }


def _costs(costs: Costs) -> dict[str, float | None]:
    return {"early_ms": costs.early, "late_ms": costs.late}
