"""Plans as a table of text and as JSON. Sizes are in GB of 10^9 bytes, except where it says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .machine import Machine
from .plan import Load, Plan
from .renting import Rented
from .resident import Resident

HEADER = (
    "format",
    "weights",
    "cache",
    "state",
    "buffers",
    "needed",
    "usable",
    "verdict",
    "window up to",
    "sequences up to",
    "decode at best",
)


@dataclass(slots=True)
class Answer:
    """All that ``ling-agent fit`` has to say.

    Attributes:
        machine: What was planned for.
        load: How the model is used.
        plans: One for each format, at least one.
        resident: What a file takes of a CPU's memory; None for a model of the facts.
        commands: How the best of them is started, by server; none when none fits, or no released
            server runs it.
        embedded: How it runs in a process of ours; empty where it does not.
        asked_market: Whether a rented machine was looked for.
        rented: The cheapest; None when there is none.
        market_error: Why the market could not be asked; empty when it could.
    """

    machine: Machine
    load: Load
    plans: Sequence[Plan]
    resident: Resident | None = None
    commands: Mapping[str, str] = field(default_factory=dict[str, str])
    embedded: str = ""
    asked_market: bool = False
    rented: Rented | None = None
    market_error: str = ""


def title(answer: Answer) -> str:
    """What was planned, one line."""
    machine, load = answer.machine, answer.load
    ram = f", {machine.ram / 1e9:.0f} GB of system memory" if machine.ram else ""
    sequences = "1 sequence" if load.concurrency == 1 else f"{load.concurrency} sequences"
    model = answer.plans[0].demand.model
    return f"{model} on {machine.name}{ram}: a window of {load.context:,} tokens, {sequences}"


def start_lines(answer: Answer) -> list[str]:
    """How it is started, a line for each server, and in this process."""
    lines = [f"{server}: {command}" for server, command in answer.commands.items()]
    if answer.embedded:
        lines.append(f"in this process: {answer.embedded}")
    if not lines and any(found.fits for found in answer.plans):
        lines.append("No released server runs this model in a format that fits.")
    return lines


def offer_line(found: Rented | None) -> str:
    """The cheapest offer, one line."""
    if found is None:
        return "No offer is free on which it fits."
    offer, best = found.offer, found.plan
    return (
        f"Cheapest offer: {offer.id}, {offer.label}, {offer.usd_per_hour:.2f} USD an hour, "
        f"{best.demand.title} {best.verdict}"
    )


def to_json(answer: Answer) -> dict[str, Any]:
    """The answer for programs; sizes in bytes."""
    value: dict[str, Any] = {
        "model": answer.plans[0].demand.model,
        "machine": answer.machine.name,
        "ram": answer.machine.ram,
        "context": answer.load.context,
        "concurrency": answer.load.concurrency,
        "kv_type": answer.load.kv_type,
        "formats": [plan_json(found) for found in answer.plans],
        "commands": dict(answer.commands),
        "embedded": answer.embedded,
    }
    if answer.resident is not None:
        value["resident"] = {**asdict(answer.resident), "total": answer.resident.total}
    if answer.asked_market:
        value["market"] = rented_json(answer.rented)
        value["market_error"] = answer.market_error
    return value


def rows(plans: Sequence[Plan]) -> list[tuple[str, ...]]:
    """One line for each format, under `HEADER`."""
    return [_row(found) for found in plans]


def _row(found: Plan) -> tuple[str, ...]:
    demand = found.demand
    return (
        demand.title,
        weights(demand.weight_low, demand.weight_high),
        gigabytes(found.cache),
        gigabytes(found.state),
        gigabytes(found.buffers),
        gigabytes(found.needed),
        gigabytes(found.room),
        str(found.verdict),
        f"{found.largest_context:,}" if found.largest_context else "-",
        f"{found.largest_concurrency:,}" if found.largest_concurrency else "-",
        f"{found.decode:,.0f} tok/s" if found.decode is not None else "-",
    )


def weights(low: int, high: int) -> str:
    """``52-63`` where only bounds are known."""
    first, last = gigabytes(low), gigabytes(high)
    return last if first == last else f"{first}-{last}"


def gigabytes(size: int) -> str:
    """A size, short enough for a table."""
    value = size / 1e9
    if value == 0:
        return "0"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def notes(plans: Sequence[Plan]) -> list[str]:
    """What is to be known about the formats, a line each."""
    lines = [f"{found.demand.title}: {found.reason}" for found in plans if found.reason]
    lines += [
        f"{found.demand.title}: experts of {found.cpu_experts} layers, "
        f"{gigabytes(found.in_ram)} GB, stay in system memory"
        for found in plans
        if found.fits and found.cpu_experts
    ]
    return lines


def resident_lines(found: Resident) -> list[str]:
    """What the embedded engine keeps in memory, a line each; MiB, as tools of the system show."""
    parts = {
        "weights, mapped from the file": found.mapped,
        "weights, copied for the processor": found.repacked,
        "key-value cache": found.cache,
        "recurrent state": found.state,
        "compute buffer": found.compute,
        "rows in 8 bits": found.multiply,
        "logits": found.logits,
        "vocabulary": found.vocabulary,
        "graph, threads, code": found.runtime,
        "resident": found.total,
    }
    return [f"{size / 2**20:>10,.1f} MiB  {name}" for name, size in parts.items() if size]


def plan_json(found: Plan) -> dict[str, Any]:
    """A plan for programs; sizes in bytes."""
    demand = found.demand
    return {
        "format": demand.format,
        "verdict": str(found.verdict),
        "weights_low": demand.weight_low,
        "weights": demand.weight_high,
        "on_cards": found.on_cards,
        "in_system_memory": found.in_ram,
        "kv_cache": found.cache,
        "linear_state": found.state,
        "buffers": found.buffers,
        "needed": found.needed,
        "usable": found.room,
        "cpu_experts": found.cpu_experts,
        "largest_context": found.largest_context,
        "largest_concurrency": found.largest_concurrency,
        "decode_bound": None if found.decode is None else round(found.decode, 2),
        "reason": found.reason,
    }


def rented_json(found: Rented | None) -> dict[str, Any] | None:
    """An offer for programs; None when there is none."""
    if found is None:
        return None
    offer = found.offer
    return {
        "offer_id": offer.id,
        "gpu": offer.label,
        "usd_per_hour": offer.usd_per_hour,
        "format": found.plan.demand.format,
        "verdict": str(found.plan.verdict),
    }
