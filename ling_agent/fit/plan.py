"""Whether a model fits a machine, how much more would, and how fast it could be at best.

On cards: weights, caches of all sequences, their linear states and working buffers have to fit into
what is usable of the cards' memory. vLLM and SGLang leave a tenth of each card to the driver, to
captured graphs and to fragments (``--gpu-memory-utilization 0.9``); for llama.cpp it is a tenth,
at most 1 GiB. Without a card three quarters of the system's memory are usable, by llama.cpp.

The speed is a bound: for every token of an answer the weights in use, the cache of the sequence
and its state are read once from memory, and nothing can be faster than that. Arithmetic, launches
and the network come on top.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from ..errors import ConfigurationError
from .demand import Demand
from .machine import Card, Machine

MOST_SEQUENCES = 4096
"""More sequences at the same time are not looked for."""

_SERVER_SHARE = 0.9
_GIB = 1 << 30
_RAM_SHARE = 0.75
_STEP = 256


class Verdict(StrEnum):
    """The answer in words."""

    FITS = "fits"
    WITH_RAM = "fits with experts in system memory"
    NOT = "does not fit"
    CANNOT = "does not run there"


@dataclass(frozen=True, slots=True)
class Load:
    """How a model is used: tokens of a sequence's window, sequences at once, type of the cache."""

    context: int
    concurrency: int = 1
    kv_type: str = "bf16"


@dataclass(frozen=True, slots=True)
class Plan:
    """One format on one machine. Sizes in bytes.

    Attributes:
        demand: The model in that format.
        load: How it is used.
        verdict: The answer.
        weights: All weights, at most.
        on_cards: Of those, what is on the cards (in system memory without a card).
        in_ram: Of those, what is in system memory beside the cards.
        cache: Key-value caches of all sequences.
        state: Linear states of all sequences.
        buffers: Working buffers.
        room: What is usable on the cards (of system memory without a card).
        cpu_experts: Layers whose experts stay in system memory (``n_cpu_moe``).
        largest_context: Longest window for that many sequences; 0 where none fits. What fits whole
            stays whole; else experts may be in system memory.
        largest_concurrency: Most sequences with that window, in the same way.
        decode: Tokens a second of one sequence at best; None where a bandwidth is not known, or
            it does not fit.
        reason: Why not, or what to know.
    """

    demand: Demand
    load: Load
    verdict: Verdict
    weights: int
    on_cards: int
    in_ram: int
    cache: int
    state: int
    buffers: int
    room: int
    cpu_experts: int = 0
    largest_context: int = 0
    largest_concurrency: int = 0
    decode: float | None = None
    reason: str = ""

    @property
    def fits(self) -> bool:
        """Whether it can be started so."""
        return self.verdict in (Verdict.FITS, Verdict.WITH_RAM)

    @property
    def needed(self) -> int:
        """Bytes on the cards (of system memory without a card)."""
        return self.on_cards + self.cache + self.state + self.buffers

    @property
    def line(self) -> str:
        """What it takes and what there is, one line."""
        return f"it takes {self.needed / 1e9:.1f} GB, {self.room / 1e9:.1f} GB are usable"


def plan(demand: Demand, machine: Machine, load: Load) -> Plan:
    """Whether it fits, and what follows from that.

    Raises:
        ConfigurationError: A window or a number of sequences that cannot be, or a type of cache
            that the format's servers do not have.
    """
    _check(demand, load)
    refusal = _refusal(demand, machine)
    if refusal:
        return _placed(demand, machine, load, 0, Verdict.CANNOT, refusal)
    moved = _least_split(demand, machine, load)
    verdict = Verdict.WITH_RAM if moved else Verdict.FITS
    if moved is None:
        found = _placed(demand, machine, load, 0, Verdict.NOT)
        found = _because(found, found.line)
    else:
        found = _placed(demand, machine, load, moved, verdict, _warning(demand, machine))
        short = _short_of_ram(machine, found)
        if short:
            found = _because(_placed(demand, machine, load, moved, Verdict.NOT), short)
    return _with_limits(found, machine)


def _check(demand: Demand, load: Load) -> None:
    if load.context < 1:
        raise ConfigurationError(f"a window of {load.context} tokens cannot be: give 1 or more")
    if not 1 <= load.concurrency <= MOST_SEQUENCES:
        raise ConfigurationError(
            f"{load.concurrency} sequences at once cannot be: give 1 to {MOST_SEQUENCES}"
        )
    if demand.max_context and load.context > demand.max_context:
        yarn = " (with YaRN)" if demand.max_context > demand.native_context else ""
        raise ConfigurationError(
            f"a window of {load.context:,} tokens is beyond what {demand.model} has: "
            f"{demand.max_context:,}{yarn}"
        )
    demand.kv_bytes(load.kv_type)


def _refusal(demand: Demand, machine: Machine) -> str:
    """Why the format does not run there at all; empty when it does."""
    if not machine.cards:
        return "" if demand.is_gguf else f"{demand.title} needs a graphics card"
    for card in machine.cards:
        if card.capability is not None and card.capability < demand.capability:
            note = f"; {demand.note}" if demand.note else ""
            return (
                f"{demand.title} needs compute capability {demand.capability:g}, "
                f"{card.name} has {card.capability:g}{note}"
            )
    return ""


def _warning(demand: Demand, machine: Machine) -> str:
    """What to know about so many cards; empty for nothing."""
    cards = len(machine.cards)
    if demand.divides_among(cards):
        return ""
    return (
        f"{demand.widths.heads} heads do not divide among {cards} cards: "
        "tensor parallelism needs another number of them"
    )


def _least_split(demand: Demand, machine: Machine, load: Load) -> int | None:
    """The fewest layers whose experts have to leave the cards; None when not even all are enough.

    Only llama.cpp can move them, and only from a card.
    """
    movable = len(demand.expert_bytes) if demand.is_gguf and demand.expert_total else 0
    for moved in range(movable + 1 if machine.cards else 1):
        placed = _placed(demand, machine, load, moved, Verdict.FITS)
        if placed.needed <= placed.room:
            return moved
    return None


def _placed(
    demand: Demand, machine: Machine, load: Load, moved: int, verdict: Verdict, reason: str = ""
) -> Plan:
    cards = len(machine.cards)
    experts = sum(demand.expert_bytes[:moved])
    inputs = demand.input_bytes if cards and demand.is_gguf else 0
    output = demand.output_bytes if cards and demand.is_gguf else 0
    on_cards = demand.weight_high - experts - inputs + output
    buffers = demand.buffers(load.context, load.concurrency, cards=cards)
    if not cards:
        buffers += demand.tables
    return Plan(
        demand=demand,
        load=load,
        verdict=verdict,
        weights=demand.weight_high,
        on_cards=on_cards,
        in_ram=experts + inputs,
        cache=_cache(demand, load),
        state=demand.state_bytes * load.concurrency,
        buffers=buffers,
        room=_room(demand, machine),
        cpu_experts=moved,
        reason=reason or demand.note,
    )


def _cache(demand: Demand, load: Load) -> int:
    window = -(-load.context // _STEP) * _STEP
    return round(demand.kv_bytes(load.kv_type) * window) * load.concurrency


def _room(demand: Demand, machine: Machine) -> int:
    if not machine.cards:
        return int((machine.ram or 0) * _RAM_SHARE)
    return sum(_usable(card, gguf=demand.is_gguf) for card in machine.cards)


def _usable(card: Card, *, gguf: bool) -> int:
    if gguf:
        return card.memory - min(card.memory // 10, _GIB)
    return int(card.memory * _SERVER_SHARE)


def _short_of_ram(machine: Machine, found: Plan) -> str:
    """Why the system's memory is too small for what has to be there; empty when it is not."""
    if not found.cpu_experts or machine.ram is None:
        return ""
    if found.in_ram <= machine.ram * _RAM_SHARE:
        return ""
    needed = found.in_ram / _RAM_SHARE / 1e9
    return (
        f"experts of {found.cpu_experts} layers would have to be in system memory: "
        f"{found.in_ram / 1e9:.1f} GB, which takes a machine with {needed:.0f} GB"
    )


def _because(found: Plan, reason: str) -> Plan:
    note = f"; {found.demand.note}" if found.demand.note else ""
    return replace(found, reason=reason + note)


def _with_limits(found: Plan, machine: Machine) -> Plan:
    """The same with the largest window and number of sequences, and the bound of its speed."""
    demand, load = found.demand, found.load

    def fits(context: int, concurrency: int) -> bool:
        other = replace(load, context=context, concurrency=concurrency)
        moved = _least_split(demand, machine, other)
        if moved is None or (moved and found.verdict is Verdict.FITS):
            return False
        return not _short_of_ram(machine, _placed(demand, machine, other, moved, Verdict.FITS))

    limit = demand.max_context or load.context
    largest = _largest(lambda steps: fits(min(steps * _STEP, limit), load.concurrency), limit)
    sequences = _largest(lambda count: fits(load.context, count), MOST_SEQUENCES * _STEP)
    return replace(
        found,
        largest_context=min(largest * _STEP, limit),
        largest_concurrency=min(sequences, MOST_SEQUENCES),
        decode=decode_bound(found, machine) if found.fits else None,
    )


def _largest(fits: Callable[[int], bool], limit: int) -> int:
    """The largest number of steps that fits, of at most ``limit`` tokens; 0 when none does."""
    low, high = 0, -(-limit // _STEP)
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low


def decode_bound(found: Plan, machine: Machine) -> float | None:
    """Tokens a second of one sequence that memory allows at best, its window being full.

    Cards of vLLM and SGLang read at the same time, those of llama.cpp one after the other.
    """
    demand, load = found.demand, found.load
    share = sum(demand.expert_bytes[: found.cpu_experts]) / max(demand.expert_total, 1)
    slow = demand.read_experts * share
    one = Load(load.context, 1, load.kv_type)
    fast = demand.read_bytes + demand.read_experts - slow + _cache(demand, one)
    fast += 2 * demand.state_bytes  # it is read and written
    if not machine.cards:
        return machine.ram_bandwidth / max(slow + fast, 1)
    known = [card.bandwidth for card in machine.cards if card.bandwidth is not None]
    if len(known) < len(machine.cards):
        return None
    together = min(known) * (1 if demand.is_gguf else len(known))
    return 1 / (slow / machine.ram_bandwidth + max(fast, 1) / together)
