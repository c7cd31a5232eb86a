"""Where offers come from: the live Clore.ai marketplace or the shipped snapshot.

`open_market` picks the live one when ``CLORE_API_KEY`` is set. Both give the same `Offer` objects,
so that the tools do not know the difference.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from pydantic import ValidationError

from ling_agent import ConfigurationError, ToolError

from .generate_snapshot import SNAPSHOT_PATH
from .gpu_names import short_name, split_count

HOURS_PER_DAY = 24
"""The API's amounts are per day; everything in this example is per hour."""

CACHE_SECONDS = 60.0
"""The API allows one request per second, and an agent asks several times within one answer."""

_GIGABYTES = re.compile(r"(\d+(?:\.\d+)?)\s*(TB|GB)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Offer:
    """One server that can be rented as a whole.

    Attributes:
        id: Server id on the marketplace.
        gpu: Short model name such as ``"RTX 4090"``.
        gpu_count: GPUs in the server.
        usd_per_hour: On-demand price of the whole server in USD per hour.
        spot_usd_per_hour: Spot price in USD per hour, or None without a spot market.
        reliability: Share of time that the host is reachable, 0 to 1.
        country: ISO 3166 code, or an empty string.
        ram_gb: Main memory in GB.
        disk_gb: Disk size in GB.
        vram_gb: Memory of one GPU in GB.
        cuda: Highest CUDA version, or an empty string.
        rented: Whether someone else has it now.
    """

    id: int
    gpu: str
    gpu_count: int
    usd_per_hour: float
    spot_usd_per_hour: float | None
    reliability: float
    country: str
    ram_gb: float
    disk_gb: float
    vram_gb: float
    cuda: str
    rented: bool

    @property
    def label(self) -> str:
        """``"RTX 4090"``, or ``"2x RTX 4090"`` for two of them."""
        return self.gpu if self.gpu_count == 1 else f"{self.gpu_count}x {self.gpu}"

    def price(self, *, spot: bool) -> float | None:
        """USD per hour of the whole server; None where it cannot be had as spot."""
        return self.spot_usd_per_hour if spot else self.usd_per_hour


def _number(value: Any) -> float | None:
    """A positive number, or None: the API writes 0 for "not for sale in this way"."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if value > 0 else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _usd_per_hour(price: Mapping[str, Any], kind: str, usd_key: str) -> float | None:
    """On-demand or spot price, from whichever of the API's three places has it in USD."""
    original = _mapping(_mapping(price.get("original_usd")).get("USD-Blockchain"))
    for value in (
        _mapping(price.get("usd")).get(usd_key),
        _mapping(price.get(kind)).get("USD-Blockchain"),
        original.get(kind),
    ):
        per_day = _number(value)
        if per_day is not None:
            return round(per_day / HOURS_PER_DAY, 4)
    return None


def _disk_gb(text: Any) -> float:
    """Size in GB out of ``"NVMe 953GB"``; the model number before it can hold digits too."""
    sizes = _GIGABYTES.findall(text) if isinstance(text, str) else []
    if not sizes:
        return 0.0
    amount, unit = sizes[-1]
    return float(amount) * (1000 if unit.upper() == "TB" else 1)


def _gpu_names(server: Mapping[str, Any]) -> list[str]:
    """The flat list of GPU names; the API sometimes nests it."""
    names: list[str] = []
    for item in cast("list[Any]", server.get("gpu_array") or []):
        nested = cast("list[Any]", item) if isinstance(item, list) else [item]
        names += [name.strip() for name in nested if isinstance(name, str)]
    return names


def offer_from_api(server: Mapping[str, Any]) -> Offer | None:
    """Read one entry of ``servers``; None without a GPU name or a USD price."""
    specs = _mapping(server.get("specs"))
    names = _gpu_names(server)
    text = specs.get("gpu") or (names[0] if names else "")
    price = _mapping(server.get("price"))
    on_demand = _usd_per_hour(price, "on_demand", "on_demand_usd")
    if not isinstance(text, str) or not text.strip() or on_demand is None:
        return None
    name, count = split_count(text)
    return Offer(
        id=int(server["id"]),
        gpu=short_name(name),
        gpu_count=count or len(names) or 1,
        usd_per_hour=on_demand,
        spot_usd_per_hour=_usd_per_hour(price, "spot", "spot"),
        reliability=_number(server.get("reliability")) or 0.0,
        country=str(_mapping(specs.get("net")).get("cc") or ""),
        ram_gb=_number(specs.get("ram")) or 0.0,
        disk_gb=_disk_gb(specs.get("disk")),
        vram_gb=_number(specs.get("gpuram")) or 0.0,
        cuda=str(server.get("cuda_version") or ""),
        rented=bool(server.get("rented")),
    )


class Market(Protocol):
    """A source of offers."""

    @property
    def source(self) -> str:
        """One phrase that says where the offers come from."""
        ...

    async def offers(self) -> list[Offer]:
        """Every offer, rented ones too.

        Raises:
            ToolError: The marketplace could not be read.
        """
        ...

    async def rent(self, offer: Offer) -> str:
        """Start renting at the on-demand price and say what happened.

        Raises:
            ToolError: Nothing was rented.
        """
        ...


class SnapshotMarket:
    """The shipped synthetic snapshot, or another file in the API's shape."""

    source = "synthetic snapshot"

    def __init__(self, path: Path = SNAPSHOT_PATH) -> None:
        answer = json.loads(path.read_text(encoding="utf-8"))
        parsed = (offer_from_api(server) for server in answer["servers"])
        self._offers = [offer for offer in parsed if offer is not None]

    async def offers(self) -> list[Offer]:
        """Every offer of the snapshot."""
        return list(self._offers)

    async def rent(self, offer: Offer) -> str:
        """Always refuses: these offers do not exist."""
        raise ToolError(f"Offer {offer.id} cannot be rented: this is a synthetic snapshot.")


class CloreMarket:
    """The live marketplace through the official ``clore-ai`` SDK.

    Args:
        api_key: Key of your account; reading offers costs nothing.
        base_url: Another address of the API, for tests.
        allow_rent: Without it `rent` refuses, whatever was approved. The demo leaves it off.
        ssh_key: Public key for the rented server; needed to rent.
        image: Container image that the rented server starts.
        currency: What to pay with.
    """

    source = "live Clore.ai marketplace"

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str | None = None,
        allow_rent: bool = False,
        ssh_key: str | None = None,
        image: str = "cloreai/ubuntu22.04-cuda12",
        currency: str = "USD-Blockchain",
    ) -> None:
        try:
            # By name, so that neither this file nor a type checker needs the SDK.
            self._sdk: Any = importlib.import_module("clore_ai")
        except ImportError as error:
            raise ConfigurationError(
                "The live marketplace needs the clore-ai SDK: pip install 'ling-agent[clore]'"
            ) from error
        self._api_key = api_key
        self._base_url = base_url
        self._allow_rent = allow_rent
        self._ssh_key = ssh_key
        self._image = image
        self._currency = currency
        self._cached: list[Offer] = []
        self._cached_at = float("-inf")

    def _client(self, max_retries: int) -> Any:
        # One client per request: its connections belong to the event loop of that request.
        return self._sdk.AsyncCloreAI(
            api_key=self._api_key, base_url=self._base_url, max_retries=max_retries
        )

    async def offers(self) -> list[Offer]:
        """Every offer, at most `CACHE_SECONDS` old."""
        if time.monotonic() - self._cached_at < CACHE_SECONDS:
            return list(self._cached)
        try:
            async with self._client(max_retries=2) as client:
                # No filters of the SDK: its price filter compares amounts per day, and its name
                # filter is a substring test, to which a 4070 Ti is a 4070.
                servers = await client.marketplace(available_only=False)
        except (self._sdk.CloreAPIError, ValueError) as error:
            raise ToolError(f"The marketplace could not be read: {error}") from error
        parsed = (offer_from_api(server.model_dump(by_alias=True)) for server in servers)
        self._cached = [offer for offer in parsed if offer is not None]
        self._cached_at = time.monotonic()
        return list(self._cached)

    async def rent(self, offer: Offer) -> str:
        """Create an on-demand order; it runs, and costs, until you cancel it."""
        if not self._allow_rent:
            raise ToolError("Renting is switched off (CloreMarket(allow_rent=True) allows it).")
        if not self._ssh_key:
            raise ToolError("Renting needs CloreMarket(ssh_key=...): no one could log in without.")
        try:
            # No retry: an order whose answer got lost would be placed, and paid, twice.
            async with self._client(max_retries=0) as client:
                order = await client.create_order(
                    server_id=offer.id,
                    image=self._image,
                    type="on-demand",
                    currency=self._currency,
                    ssh_key=self._ssh_key,
                    ports={"22": "tcp"},
                )
        except self._sdk.CloreAPIError as error:
            raise ToolError(f"The order for offer {offer.id} failed: {error}") from error
        except ValidationError:
            # The API said success; only the SDK's model of an order did not fit the answer.
            return "Order accepted; its number is in your list of orders."
        finally:
            self._cached_at = float("-inf")
        return f"Order {order.id} accepted."


def open_market() -> Market:
    """The live marketplace when ``CLORE_API_KEY`` is set, and the snapshot otherwise."""
    api_key = os.environ.get("CLORE_API_KEY", "").strip()
    return CloreMarket(api_key) if api_key else SnapshotMarket()
