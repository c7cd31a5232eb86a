"""Whether a launch fits some cards: the planner's answer, and how a recipe tells it."""

from __future__ import annotations

from ..facts import GpuFacts, ram_bandwidth
from ..fit import Load, Plan, Verdict, demand_of, named_machine, plan
from .launch import Launch

SHORTEST = 4096
"""Tokens; a window that nobody asked for is not made shorter than this."""

_STEP = 1024


def planned(launch: Launch, card: GpuFacts, ram: float) -> Plan:
    """The planner's answer for that many sequences, or for one.

    Raises:
        ConfigurationError: A number of cards, or a size of memory, that cannot be.
    """
    machine = named_machine(card.id, gpus=launch.gpus, ram=ram)
    load = Load(launch.context, launch.parallel or 1)
    return plan(demand_of(launch.model, launch.format), machine, load)


def fits(found: Plan, *, experts: bool) -> bool:
    """Whether it does; with `experts` in system memory, or only as a whole on the cards."""
    return found.fits if experts else found.verdict is Verdict.FITS


def shorter(found: Plan) -> int | None:
    """A window that fits, in tokens, where the planned one does not; None where none is of use."""
    window = found.largest_context // _STEP * _STEP
    return window if window >= SHORTEST else None


def why_not(found: Plan) -> str:
    """Why it does not fit, without what else there is to know about the format."""
    return found.line if found.reason.startswith(found.line) else found.reason


def told(found: Plan) -> tuple[str, ...]:
    """The plan in lines: memory, experts, speed."""
    lines = [f"Memory: {_gb(found.needed)} of {_gb(found.room)} usable on the cards"]
    if found.cpu_experts:
        lines[0] += (
            f", with the experts of {found.cpu_experts} layers in system memory, where the weights "
            f"take {_gb(found.in_ram)}."
        )
    else:
        sequences = found.largest_concurrency
        lines[0] += f"; {sequences:,} sequences of this window fit." if sequences > 1 else "."
    if found.decode is not None:
        source = f" ({_gb(ram_bandwidth())} a second from system memory)"
        lines.append(
            f"One sequence: at best {found.decode:,.0f} tokens a second, a bound by bandwidth"
            f"{source if found.cpu_experts else ''}."
        )
    return tuple(lines)


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
