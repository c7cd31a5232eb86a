"""The tables of the page on choosing hardware, as Markdown, from the facts and the planner.

``python -m ling_agent.fit.hardware`` prints them; a test compares them with the page.
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import facts
from .demand import demand_of
from .machine import named_machine
from .plan import Load, Plan, Verdict, plan
from .report import gigabytes, weights

CONTEXT = 32768
"""Tokens of the one sequence that the tables are for."""

MACHINES: Sequence[tuple[str, int]] = (
    ("rtx-4090", 1),
    ("rtx-4090", 4),
    ("rtx-5090", 1),
    ("a100-40gb", 1),
    ("l40s", 2),
    ("h100", 1),
    ("h100", 2),
    ("h100", 4),
    ("h200", 1),
    ("h200", 2),
)
"""Cards and how many of them, in the columns of the tables."""

MODELS = ("ling-2.6-flash", "ling-mini-2.0", "ling-flash-2.0", "ling-3.0-flash")

_MARKS = {
    Verdict.FITS: "fits",
    Verdict.WITH_RAM: "experts in RAM",
    Verdict.NOT: "no",
    Verdict.CANNOT: "does not run",
}


def tables() -> dict[str, str]:
    """Every table of the page by its name."""
    found = {f"fits {name}": fits_table(name) for name in MODELS}
    return {**found, "sizes": sizes_table(), "cards": cards_table(), "claims": claims_table()}


def fits_table(name: str) -> str:
    """Formats of a model against machines."""
    model = facts.model(name)
    head = ["format", "weights, GB", *(_machine(gpu, count) for gpu, count in MACHINES)]
    rows: list[list[str]] = []
    for key, found in model.formats.items():
        plans = [_plan(name, key, gpu, count) for gpu, count in MACHINES]
        size = weights(found.weight_low, found.weight_high)
        rows.append([found.title, size, *(_MARKS[each.verdict] for each in plans)])
    return _markdown(head, rows)


def sizes_table() -> str:
    """Every model: parameters, cache and state."""
    head = ["model", "parameters", "active", "in experts", "cache of a token", "state", "window"]
    rows = [
        [
            model.title,
            _billions(model.parameters),
            _billions(model.active_parameters),
            _billions(model.expert_parameters) if model.expert_parameters else "none",
            f"{model.kv_bytes_per_token:,} B",
            f"{model.state_bytes / 2**20:.0f} MiB" if model.state_bytes else "none",
            _window(model.native_context, model.max_context),
        ]
        for model in facts.models().values()
    ]
    return _markdown(head, rows)


def cards_table() -> str:
    """Every card: memory and bandwidth."""
    head = ["card", "memory, GB", "bandwidth, GB/s", "compute capability"]
    rows = [
        [
            card.title,
            gigabytes(card.memory_bytes),
            f"{card.bandwidth / 1e9:,.0f}",
            f"{card.compute_capability:.1f}",
        ]
        for card in facts.gpus().values()
    ]
    return _markdown(head, rows)


def claims_table() -> str:
    """What pages of others say, beside what it takes."""
    head = ["claim", "weights alone, GB", "memory there, GB", "said by"]
    rows: list[list[str]] = []
    for claim in facts.claims():
        model, card = facts.model(claim.model), facts.gpu(claim.gpu)
        found = model.formats[claim.format]
        source = facts.sources()[claim.source]
        said = f"[{source.title}]({source.url})" if source.url else source.title
        where = _machine(claim.gpu, claim.gpus)
        rows.append(
            [
                f"{model.title} {found.title} on {where}",
                weights(found.weight_low, found.weight_high),
                gigabytes(card.memory_bytes * claim.gpus),
                said,
            ]
        )
    return _markdown(head, rows)


def _plan(name: str, key: str, gpu: str, count: int) -> Plan:
    demand = demand_of(facts.model(name), key)
    return plan(demand, named_machine(gpu, gpus=count), Load(CONTEXT))


def _machine(gpu: str, count: int) -> str:
    title = facts.gpu(gpu).title
    return title if count == 1 else f"{count} × {title}"


def _window(native: int, longest: int) -> str:
    return f"{native:,}" if native == longest else f"{native:,}; {longest:,} with YaRN"


def _billions(number: int) -> str:
    return f"{number / 1e9:,.2f} B"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


if __name__ == "__main__":
    for title, text in tables().items():
        print(f"<!-- {title} -->\n{text}\n<!-- end -->\n")
