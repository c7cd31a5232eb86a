"""`Offer`: one server that can be rented, read from the marketplace's own shape.

The shape is that of ``GET /v1/marketplace`` of Clore.ai: every amount in ``price`` is for the
whole server and for a day, ``specs.ram`` and ``specs.gpuram`` are in GB, ``reliability`` runs from
0 to 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from .names import short_name, split_count

HOURS_PER_DAY = 24
"""The API's amounts are per day; everything here is per hour."""

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
