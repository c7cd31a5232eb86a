"""The cheapest rented machine that a model fits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .. import facts
from ..errors import ConfigurationError
from ..market import Offer
from .demand import Demand
from .machine import Card, Machine
from .plan import Load, Plan, Verdict, plan

_GIB = 1 << 30
_CLOSE = 0.15  # memory that a marketplace names and a driver's figure differ by less


@dataclass(frozen=True, slots=True)
class Rented:
    """An offer, and how the model fits there."""

    offer: Offer
    plan: Plan


def cheapest(
    offers: Iterable[Offer], demands: Sequence[Demand], load: Load, *, gpu: str | None = None
) -> Rented | None:
    """The cheapest offer on which a format fits; None when there is none.

    The formats are tried in their order, whole on the cards first; offers where experts would have
    to stay in system memory are taken only when there is no other. Equal prices: the lower id.

    Args:
        offers: Of a marketplace; rented ones are passed over.
        demands: The formats that will do.
        load: How the model is used.
        gpu: Id of a card; None for any.
    """
    with_ram: Rented | None = None
    free = [offer for offer in offers if not offer.rented]
    for offer in sorted(free, key=lambda offer: (offer.usd_per_hour, offer.id)):
        machine = machine_of(offer)
        if gpu is not None and machine.cards[0].name != facts.gpu(gpu).title:
            continue
        plans = [plan(demand, machine, load) for demand in demands]
        whole = next((found for found in plans if found.verdict is Verdict.FITS), None)
        if whole is not None:
            return Rented(offer, whole)
        part = next((found for found in plans if found.fits), None)
        if with_ram is None and part is not None:
            with_ram = Rented(offer, part)
    return with_ram


def machine_of(offer: Offer) -> Machine:
    """The machine that is offered; a card that is not in the facts has the offer's size alone."""
    ram = round(offer.ram_gb * 1e9) or None
    card = _known(offer) or Card(offer.gpu, round(offer.vram_gb * _GIB), None, None)
    return Machine((card,) * max(offer.gpu_count, 1), ram, facts.ram_bandwidth())


def _known(offer: Offer) -> Card | None:
    """The facts' card of the same name and size: an A100 has 40 or 80 GB."""
    for name in (f"{offer.gpu} {offer.vram_gb:.0f}GB", offer.gpu):
        try:
            found = facts.gpu(name)
        except ConfigurationError:
            continue
        if abs(found.memory_bytes / _GIB - offer.vram_gb) <= _CLOSE * offer.vram_gb:
            return Card(found.title, found.memory_bytes, found.bandwidth, found.compute_capability)
    return None
