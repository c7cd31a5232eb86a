"""The cheapest offer on which a model fits."""

from __future__ import annotations

from typing import Any

import pytest

from ling_agent import facts
from ling_agent.fit import Load, Verdict, demand_of
from ling_agent.fit.renting import cheapest, machine_of
from ling_agent.market import Offer

LOAD = Load(32768)


def offer(number: int, gpu: str, usd: float, **changes: Any) -> Offer:
    values: dict[str, Any] = {
        "id": number,
        "gpu": gpu,
        "gpu_count": 1,
        "usd_per_hour": usd,
        "spot_usd_per_hour": None,
        "reliability": 0.99,
        "country": "DE",
        "ram_gb": 128.0,
        "disk_gb": 1000.0,
        "vram_gb": 24.0,
        "cuda": "12.4",
        "rented": False,
    }
    return Offer(**values | changes)


def demands(model: str, *formats: str) -> list[Any]:
    return [demand_of(facts.model(model), name) for name in formats]


OFFERS = [
    offer(1, "RTX 4090", 0.30),
    offer(2, "RTX 4090", 0.90, gpu_count=3),
    offer(3, "H100", 2.00, vram_gb=80.0),
    offer(4, "H200", 1.00, vram_gb=141.0, rented=True),
    offer(5, "H200", 3.50, vram_gb=141.0),
]


def test_the_cheapest_that_fits_whole_wins_over_cheaper_ones_with_experts_in_ram() -> None:
    found = cheapest(OFFERS, demands("ling-2.6-flash", "iq4_nl"), LOAD)
    assert found is not None
    assert (found.offer.id, found.plan.verdict) == (2, Verdict.FITS)
    fp8 = cheapest(OFFERS, demands("ling-2.6-flash", "fp8"), LOAD)
    assert fp8 is not None
    assert fp8.offer.id == 5  # not 4: it is rented


def test_experts_in_ram_when_nothing_holds_it_whole() -> None:
    found = cheapest(OFFERS[:1], demands("ling-2.6-flash", "iq4_nl"), LOAD)
    assert found is not None
    assert (found.offer.id, found.plan.verdict) == (1, Verdict.WITH_RAM)
    poor = offer(6, "RTX 4090", 0.1, ram_gb=32.0)
    assert cheapest([poor], demands("ling-2.6-flash", "iq4_nl"), LOAD) is None


def test_formats_are_tried_in_order_and_prices_decide() -> None:
    found = cheapest(OFFERS, demands("ling-2.6-flash", "bf16", "fp8", "int4"), LOAD)
    assert found is not None
    assert (found.offer.id, found.plan.demand.format) == (2, "int4")


def test_only_one_card() -> None:
    found = cheapest(OFFERS, demands("ling-2.6-flash", "int4"), LOAD, gpu="h100")
    assert found is not None
    assert found.offer.id == 3
    assert cheapest(OFFERS, demands("ling-2.6-flash", "int4"), LOAD, gpu="b200") is None
    assert cheapest([], demands("ling-2.6-flash", "int4"), LOAD) is None


@pytest.mark.parametrize(("size", "card"), [(40.0, "A100 40GB"), (80.0, "A100 80GB")])
def test_the_size_tells_cards_of_one_name_apart(size: float, card: str) -> None:
    machine = machine_of(offer(7, "A100", 1.0, vram_gb=size, gpu_count=2))
    assert [each.name for each in machine.cards] == [card, card]
    assert machine.ram == 128 * 10**9


def test_a_card_without_facts_has_the_size_of_the_offer() -> None:
    [card] = machine_of(offer(8, "RTX 2080 Ti", 0.1, vram_gb=11.0)).cards
    assert (card.memory, card.bandwidth, card.capability) == (11 << 30, None, None)
