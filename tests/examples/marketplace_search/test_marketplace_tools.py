"""What the tools answer, compared with plain loops over a small market and over the snapshot."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import Any

import pytest

from examples.marketplace_search.market import Market, Offer, SnapshotMarket, open_market
from examples.marketplace_search.tools import make_tools
from ling_agent import ToolError


def offer(number: int, gpu: str, price: float, **changes: Any) -> Offer:
    base = Offer(
        id=number,
        gpu=gpu,
        gpu_count=1,
        usd_per_hour=price,
        spot_usd_per_hour=None,
        reliability=0.98,
        country="US",
        ram_gb=64,
        disk_gb=500,
        vram_gb=24,
        cuda="12.4",
        rented=False,
    )
    return dataclasses.replace(base, **changes)


OFFERS = [
    offer(10001, "RTX 4090", 0.40, spot_usd_per_hour=0.20, reliability=0.999),
    offer(10002, "RTX 4090", 0.30, spot_usd_per_hour=0.25, country="DE", reliability=0.95),
    offer(10003, "RTX 4090", 0.10, rented=True),
    offer(10004, "RTX 4090", 0.70, gpu_count=2, reliability=0.97, ram_gb=256),
    offer(10005, "RTX 3090", 0.15, spot_usd_per_hour=0.15),
    offer(10006, "RTX 3090", 0.12, reliability=0.90),
    offer(10007, "H200", 3.00, rented=True, vram_gb=141),
]


class SmallMarket:
    """A market in memory that writes down what is rented."""

    source = "test"

    def __init__(self) -> None:
        self.rented: list[int] = []

    async def offers(self) -> list[Offer]:
        return list(OFFERS)

    async def rent(self, offer: Offer) -> str:
        self.rented.append(offer.id)
        return f"Order 1 accepted for offer {offer.id}."


def use(name: str, *, market: Market | None = None, **arguments: Any) -> dict[str, Any]:
    tools = {tool.name: tool for tool in make_tools(market or SmallMarket())}
    return asyncio.run(tools[name](**arguments))


def search(**arguments: Any) -> dict[str, Any]:
    return use("browse_marketplace", **arguments)


def ids(result: dict[str, Any]) -> list[int]:
    return [result["best"]["offer_id"], *(row["offer_id"] for row in result["others"])]


def test_names_and_approval() -> None:
    tools = make_tools(SmallMarket())
    assert {tool.name: tool.requires_approval for tool in tools} == {
        "browse_marketplace": False,
        "offer_details": False,
        "estimate_cost": False,
        "compare_gpus": False,
        "rent_offer": True,
    }
    for tool in tools:
        assert tool.description
        for name, schema in tool.parameters["properties"].items():
            assert schema.get("description"), f"{tool.name}.{name}"


def test_search_takes_the_cheapest_that_is_not_rented() -> None:
    result = search(gpu="4090")
    assert ids(result) == [10002, 10001, 10004]
    assert result["found"] == 3
    assert result["summary"] == (
        "Cheapest available RTX 4090: offer 10002 at $0.30 per hour on demand, "
        "reliability 95%, Germany. 3 such offers available."
    )
    assert result["best"] == {
        "offer_id": 10002,
        "gpu": "RTX 4090",
        "price_per_hour_usd": 0.30,
        "spot_price_per_hour_usd": 0.25,
        "reliability": "95%",
        "country": "Germany",
    }


def test_search_sorts() -> None:
    assert ids(search(gpu="4090", sort_by="reliability")) == [10001, 10004, 10002]
    assert ids(search(gpu="4090", sort_by="ram"))[0] == 10004
    assert "256 GB RAM" in search(gpu="4090", sort_by="ram")["summary"]
    assert "(2x RTX 4090)" in search(gpu="4090", sort_by="ram")["summary"]
    assert search(gpu="4090", sort_by="reliability")["summary"].startswith("Most reliable")


def test_search_for_spot_uses_spot_prices_only() -> None:
    result = search(gpu="RTX 4090", spot=True)
    assert ids(result) == [10001, 10002]
    assert "$0.20 per hour spot" in result["summary"]


def test_search_filters() -> None:
    assert ids(search(gpu="4090", max_price_per_hour=0.4)) == [10002, 10001]
    assert ids(search(gpu="4090", spot=True, max_price_per_hour=0.2)) == [10001]
    assert ids(search(gpu="4090", min_reliability=0.97)) == [10001, 10004]
    assert ids(search(gpu="4090", min_reliability=97)) == [10001, 10004]
    assert ids(search(gpu="2x RTX 4090")) == [10004]
    assert len(ids(search())) == 3


@pytest.mark.parametrize("gpu", ["any", "", "all"])
def test_search_without_a_model(gpu: str) -> None:
    result = search(gpu=gpu)
    assert ids(result)[0] == 10006
    assert "Cheapest available GPU: offer 10006 (RTX 3090)" in result["summary"]


def test_search_reads_zero_as_no_limit() -> None:
    assert search(gpu="4090", max_price_per_hour=0, min_reliability=0)["found"] == 3


def test_search_finds_nothing() -> None:
    assert search(gpu="4090", max_price_per_hour=0.05) == {
        "summary": "None available: no RTX 4090 is available for $0.05 per hour or less. "
        "The cheapest available RTX 4090 costs $0.30 per hour.",
        "found": 0,
    }
    assert search(gpu="H200")["summary"] == (
        "None available: no H200 is available. All H200 offers are rented (1)."
    )
    assert "as spot" in search(gpu="H200", spot=True)["summary"]
    assert search(gpu="8x RTX 4090")["found"] == 0
    result = search(gpu="RTX 9090")
    assert "no GPU model 'RTX 9090'" in result["summary"]
    assert result["found"] == 0


def test_details() -> None:
    result = use("offer_details", offer_id=10002)
    assert result["summary"] == (
        "Offer 10002: RTX 4090, 500 GB disk, 64 GB RAM, Germany, "
        "$0.30 per hour on demand and $0.25 per hour spot, available. "
        "Spot is cheaper by $0.05 per hour."
    )
    assert (result["ram_gb"], result["disk_gb"], result["cuda"]) == (64, 500, "12.4")
    assert "not available" in use("offer_details", offer_id=10003)["summary"]
    assert "no spot price" in use("offer_details", offer_id=10006)["summary"]
    assert "cost the same" in use("offer_details", offer_id=10005)["summary"]
    with pytest.raises(ToolError, match="no offer 99999"):
        use("offer_details", offer_id=99999)


def test_cost_of_a_model_is_that_of_its_cheapest_offer() -> None:
    result = use("estimate_cost", gpu_or_offer="RTX 4090", hours=24)
    assert (result["offer_id"], result["total_usd"]) == (10002, 7.2)
    assert result["summary"] == (
        "24 hours on offer 10002 (RTX 4090) cost $7.20 in total, at $0.30 per hour on demand "
        "(spot is cheaper)."
    )
    result = use("estimate_cost", gpu_or_offer="RTX 4090", hours=24, spot=True)
    assert result["total_usd"] == 4.8
    assert result["summary"].endswith("per hour spot. That is $4.80 less than on demand.")


def test_cost_of_an_offer() -> None:
    assert use("estimate_cost", gpu_or_offer="10004", hours=1.5)["total_usd"] == 1.05
    assert use("estimate_cost", gpu_or_offer="offer 10004", hours=1)["total_usd"] == 0.7
    assert use("estimate_cost", gpu_or_offer="10004", hours=1)["offer_id"] == 10004
    assert use("estimate_cost", gpu_or_offer="3090", hours=1)["offer_id"] == 10006
    assert "not available" in use("estimate_cost", gpu_or_offer="10003", hours=1)["summary"]
    assert "1 hour on" in use("estimate_cost", gpu_or_offer="10003", hours=1)["summary"]


def test_cost_of_what_cannot_be_had() -> None:
    with pytest.raises(ToolError, match="None available"):
        use("estimate_cost", gpu_or_offer="H200", hours=1)
    with pytest.raises(ToolError, match="no spot price"):
        use("estimate_cost", gpu_or_offer="10006", hours=1, spot=True)
    with pytest.raises(ToolError, match="Name a GPU model"):
        use("estimate_cost", gpu_or_offer="any", hours=1)


@pytest.mark.parametrize("hours", [0, -1, 69655])
def test_hours_are_more_than_none_and_at_most_a_year(hours: float) -> None:
    with pytest.raises(ToolError, match="more than 0, at most 8760"):
        use("estimate_cost", gpu_or_offer="10001", hours=hours)
    with pytest.raises(ToolError, match="more than 0, at most 8760"):
        use("rent_offer", offer_id=10001, hours=hours)


def test_the_number_of_an_offer_is_no_model() -> None:
    cases: list[tuple[str, dict[str, Any]]] = [
        ("browse_marketplace", {"gpu": "RTX 10001"}),
        ("compare_gpus", {"gpus": ["10001", "RTX 4090"]}),
        ("estimate_cost", {"gpu_or_offer": "RTX 10001", "hours": 1}),
    ]
    for name, arguments in cases:
        with pytest.raises(ToolError, match="Call offer_details with offer_id 10001"):
            use(name, **arguments)


@pytest.mark.parametrize(
    "gpus",
    [["RTX 3090", "RTX 4090"], ["3090 vs 4090"], ["rtx3090, rtx4090"], ["3090 and RTX 4090"]],
)
def test_compare(gpus: list[str]) -> None:
    result = use("compare_gpus", gpus=gpus)
    assert result["summary"] == (
        "RTX 3090 is cheaper than RTX 4090 by $0.18 per hour: "
        "RTX 3090 costs $0.12 per hour (offer 10006), "
        "RTX 4090 costs $0.30 per hour (offer 10002)."
    )
    assert result["gpus"][1] == {
        "gpu": "RTX 4090",
        "available": 3,
        "cheapest_offer_id": 10002,
        "cheapest_price_per_hour_usd": 0.30,
        "cheapest_spot_price_per_hour_usd": 0.20,
        "vram_gb": 24,
    }


def test_compare_with_one_that_is_not_there() -> None:
    assert use("compare_gpus", gpus=["H200", "RTX 3090"])["summary"] == (
        "RTX 3090 costs $0.12 per hour (offer 10006). H200: none available."
    )
    assert use("compare_gpus", gpus=["H200"])["summary"] == "H200: none available."
    with pytest.raises(ToolError):
        use("compare_gpus", gpus=["RTX 3090", "RTX 9090"])
    with pytest.raises(ToolError):
        use("compare_gpus", gpus=[])


def test_rent() -> None:
    market = SmallMarket()
    summary = use("rent_offer", market=market, offer_id=10002, hours=10)["summary"]
    assert market.rented == [10002]
    assert "10 hours cost $3.00" in summary
    assert "cancel the order" in summary
    with pytest.raises(ToolError, match="rented by someone else"):
        use("rent_offer", market=market, offer_id=10003, hours=10)
    with pytest.raises(ToolError, match="no offer"):
        use("rent_offer", market=market, offer_id=1, hours=10)
    with pytest.raises(ToolError, match="synthetic snapshot"):
        use("rent_offer", market=SnapshotMarket(), offer_id=29181, hours=1)
    assert market.rented == [10002]


def test_results_are_short_and_plain_json() -> None:
    market = SnapshotMarket()
    for name, arguments in (
        ("browse_marketplace", {"gpu": "RTX 4090"}),
        ("browse_marketplace", {"gpu": "any", "spot": True, "sort_by": "reliability"}),
        ("offer_details", {"offer_id": 29181}),
        ("estimate_cost", {"gpu_or_offer": "L40S", "hours": 24}),
        ("compare_gpus", {"gpus": ["RTX 3090", "RTX 4090", "A100"]}),
    ):
        text = json.dumps(use(name, market=market, **arguments))
        assert len(text) < 800
        assert next(iter(json.loads(text))) == "summary"


@pytest.mark.usefixtures("no_key")
def test_without_a_key_the_snapshot_is_used() -> None:
    assert open_market().source == "synthetic snapshot"
