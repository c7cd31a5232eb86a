"""The package's own part of the marketplace client; the example's tests have the rest."""

from __future__ import annotations

import sys

import pytest

from ling_agent import ConfigurationError
from ling_agent.market import CloreOffers, Offer, offer_from_api, short_name, split_count

SERVER = {
    "id": 20207,
    "price": {"usd": {"on_demand_usd": 5.76, "spot": 4.56}},
    "rented": False,
    "specs": {"gpu": "4x NVIDIA A100-SXM4-80GB", "gpuram": 80, "ram": 125.4, "disk": "NVMe 1TB"},
}


def test_an_offer_is_per_hour_and_for_the_whole_server() -> None:
    found = offer_from_api(SERVER)
    assert isinstance(found, Offer)
    assert (found.gpu, found.gpu_count, found.usd_per_hour) == ("A100", 4, 0.24)
    assert (found.vram_gb, found.ram_gb, found.disk_gb) == (80.0, 125.4, 1000.0)


@pytest.mark.parametrize("missing", ["price", "specs"])
def test_an_offer_without_price_or_card_is_none(missing: str) -> None:
    assert offer_from_api({key: value for key, value in SERVER.items() if key != missing}) is None


def test_names() -> None:
    assert split_count("2x NVIDIA GeForce RTX 3090") == ("NVIDIA GeForce RTX 3090", 2)
    assert short_name("NVIDIA GeForce RTX 3090") == "RTX 3090"


def test_without_the_sdk_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "clore_ai", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'ling-agent\[clore\]'"):
        CloreOffers("key")
