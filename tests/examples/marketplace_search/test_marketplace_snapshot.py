"""The shipped snapshot: synthetic, deterministic, and in the shape that the SDK reads."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from examples.marketplace_search.generate_snapshot import (
    MODELS,
    SNAPSHOT_PATH,
    build_snapshot,
    render,
)
from examples.marketplace_search.gpu_names import gpu_key, short_name
from examples.marketplace_search.market import HOURS_PER_DAY, Offer, offer_from_api


@pytest.fixture(scope="module")
def snapshot() -> dict[str, Any]:
    return json.loads(SNAPSHOT_PATH.read_text(encoding="utf-8"))


def parse(snapshot: dict[str, Any]) -> list[Offer]:
    offers = [offer_from_api(server) for server in snapshot["servers"]]
    assert None not in offers
    return [offer for offer in offers if offer is not None]


def test_says_that_it_is_synthetic(snapshot: dict[str, Any]) -> None:
    assert snapshot["synthetic"] is True
    assert "None of these offers exists" in snapshot["note"]
    assert snapshot["code"] == 0


def test_is_what_the_script_writes() -> None:
    assert SNAPSHOT_PATH.read_text(encoding="utf-8") == render(build_snapshot())
    assert render(build_snapshot(1)) != render(build_snapshot())


def test_is_large_and_varied_enough(snapshot: dict[str, Any]) -> None:
    offers = parse(snapshot)
    models = Counter(offer.gpu for offer in offers)
    assert len(offers) >= 300
    assert len(models) >= 14
    assert {"RTX 3060", "RTX 4090", "RTX 5090", "A100", "H100", "L40S", "MI300X"} <= set(models)
    assert len({offer.id for offer in offers}) == len(offers)
    assert len({offer.country for offer in offers}) >= 10
    assert {offer.rented for offer in offers} == {True, False}
    assert any(offer.spot_usd_per_hour is None for offer in offers)
    assert any(offer.gpu_count > 1 for offer in offers)


def test_values_are_plausible(snapshot: dict[str, Any]) -> None:
    for offer in parse(snapshot):
        assert 0.01 <= offer.usd_per_hour < 50
        assert offer.spot_usd_per_hour is None or 0 < offer.spot_usd_per_hour <= offer.usd_per_hour
        assert 0.6 <= offer.reliability <= 1
        assert len(offer.country) == 2
        assert offer.ram_gb > 0
        assert offer.disk_gb >= 100
        assert offer.vram_gb >= 8
        assert bool(offer.cuda) == (offer.gpu != "MI300X")
        # Five digits: no id can be mistaken for a price, a duration or a GPU name.
        assert 10_000 <= offer.id <= 99_999


def test_prices_are_whole_cents_per_hour(snapshot: dict[str, Any]) -> None:
    for offer in parse(snapshot):
        assert round(offer.usd_per_hour, 2) == offer.usd_per_hour
        assert offer.spot_usd_per_hour == (
            None if offer.spot_usd_per_hour is None else round(offer.spot_usd_per_hour, 2)
        )


def test_gpu_keys_of_the_models_differ() -> None:
    names = [short_name(model.api_name) for model in MODELS]
    assert len({gpu_key(name) for name in names}) == len(names)


def test_the_sdk_reads_every_server(snapshot: dict[str, Any]) -> None:
    models = pytest.importorskip("clore_ai.models")
    by_id = {offer.id: offer for offer in parse(snapshot)}
    for raw in snapshot["servers"]:
        server = models.MarketplaceServer(**raw)
        offer = by_id[server.id]
        assert server.gpu_count == offer.gpu_count
        assert server.gpu_model == raw["specs"]["gpu"]
        assert server.available is not offer.rented
        assert server.location == offer.country
        assert abs(server.price_usd - offer.usd_per_hour * HOURS_PER_DAY) < 1e-6
        if offer.spot_usd_per_hour is None:
            assert server.spot_price_usd is None
        else:
            assert abs(server.spot_price_usd - offer.spot_usd_per_hour * HOURS_PER_DAY) < 1e-6
        # The SDK keeps what we read: the adapter sees the same offer through it.
        assert offer_from_api(server.model_dump(by_alias=True)) == offer
        assert not server.model_extra
        assert not server.specs.model_extra
        assert not server.price.model_extra


def server(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "id": 7,
        "price": {"usd": {"on_demand_usd": 24.0}},
        "specs": {"gpu": "2x NVIDIA GeForce RTX 3090", "disk": "Samsung 990 PRO 2TB 1863GB"},
        "rented": False,
    }
    return {**base, **changes}


def test_reads_a_sparse_server() -> None:
    offer = offer_from_api(server())
    assert offer == Offer(7, "RTX 3090", 2, 1.0, None, 0.0, "", 0.0, 1863.0, 0.0, "", False)


@pytest.mark.parametrize(
    ("price", "on_demand", "spot"),
    [
        ({"usd": {"on_demand_usd": 12, "spot": 6}}, 0.5, 0.25),
        ({"on_demand": {"USD-Blockchain": 12}, "spot": {"USD-Blockchain": 6}}, 0.5, 0.25),
        ({"original_usd": {"USD-Blockchain": {"on_demand": 12, "spot": 6}}}, 0.5, 0.25),
        ({"usd": {"on_demand_usd": 12, "spot": 0}}, 0.5, None),
        ({"usd": {"on_demand_usd": 12, "spot": None}, "spot": None}, 0.5, None),
    ],
)
def test_finds_the_price_wherever_it_is(
    price: dict[str, Any], on_demand: float, spot: float | None
) -> None:
    offer = offer_from_api(server(price=price))
    assert offer is not None
    assert (offer.usd_per_hour, offer.spot_usd_per_hour) == (on_demand, spot)


def test_skips_what_cannot_be_an_offer() -> None:
    assert offer_from_api(server(price={"usd": {"on_demand_usd": 0}})) is None
    assert offer_from_api(server(price=None)) is None
    assert offer_from_api(server(specs={"gpu": " "})) is None
    assert offer_from_api(server(specs=None)) is None


def test_takes_the_gpu_from_a_nested_array() -> None:
    offer = offer_from_api(server(specs={}, gpu_array=[["NVIDIA L40S", "NVIDIA L40S"]]))
    assert offer is not None
    assert (offer.gpu, offer.gpu_count) == ("L40S", 2)
