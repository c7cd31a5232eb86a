"""Write `snapshot.json`: a synthetic Clore.ai marketplace in the shape of the real API.

Run it with ``python -m examples.marketplace_search.generate_snapshot``. It is seeded, so that every
run writes the same bytes. No offer in it exists: prices, hosts and ids are invented, and the
file says so in its first fields.

The shape is that of ``GET /v1/marketplace``: ``servers`` is a list, every amount in ``price`` is
for the *whole server* and *per day* (not per hour), ``mrl`` is the maximum rental length in hours,
``reliability`` runs from 0 to 1, ``specs.ram`` and ``specs.gpuram`` are in GB and
``specs.disk`` is a text that names the kind of disk and its size.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SNAPSHOT_PATH = Path(__file__).with_name("snapshot.json")
SEED = 20240917
FIRST_ID = 20_011
"""Ids have five digits, so that no id can be taken for a price, a duration or a GPU name."""

NOTE = (
    "Synthetic data in the shape of the Clore.ai marketplace API, written by generate_snapshot.py. "
    "None of these offers exists. Amounts in price are for the whole server per day."
)

BTC_USD = 64_000.0
CLORE_USD = 0.02


@dataclass(frozen=True, slots=True)
class Model:
    """What one GPU model looks like on the marketplace.

    Attributes:
        api_name: The name as the API spells it, without the count.
        vram_gb: Memory of one GPU in GB.
        usd_per_hour: Typical on-demand price of one GPU in USD per hour.
        offers: Servers to generate.
        counts: GPUs per server to draw from.
        all_rented: Whether every one of these servers is taken.
    """

    api_name: str
    vram_gb: int
    usd_per_hour: float
    offers: int
    counts: tuple[int, ...] = (1, 1, 1, 2)
    all_rented: bool = False


MODELS: tuple[Model, ...] = (
    Model("NVIDIA GeForce GTX 1080 Ti", 11, 0.035, 14, (1, 1, 2, 4, 6)),
    Model("NVIDIA GeForce RTX 2080 Ti", 11, 0.06, 14, (1, 1, 2, 4)),
    Model("NVIDIA GeForce RTX 3060", 12, 0.055, 24, (1, 1, 2, 4, 8)),
    Model("NVIDIA GeForce RTX 3060 Ti", 8, 0.06, 14, (1, 2, 4, 6)),
    Model("NVIDIA GeForce RTX 3070", 8, 0.065, 18, (1, 2, 6, 8)),
    Model("NVIDIA GeForce RTX 3080", 10, 0.09, 26, (1, 1, 2, 4)),
    Model("NVIDIA GeForce RTX 3090", 24, 0.16, 40, (1, 1, 2, 4, 8)),
    Model("NVIDIA GeForce RTX 4060 Ti", 16, 0.09, 12),
    Model("NVIDIA GeForce RTX 4070", 12, 0.11, 14),
    Model("NVIDIA GeForce RTX 4070 Ti", 12, 0.13, 10),
    Model("NVIDIA GeForce RTX 4080", 16, 0.19, 14),
    Model("NVIDIA GeForce RTX 4090", 24, 0.33, 46, (1, 1, 1, 2, 4, 8)),
    Model("NVIDIA GeForce RTX 5080", 16, 0.31, 8, (1, 1, 2)),
    Model("NVIDIA GeForce RTX 5090", 32, 0.58, 20, (1, 1, 2, 4)),
    Model("NVIDIA RTX A5000", 24, 0.17, 8, (1, 2, 4)),
    Model("NVIDIA RTX A6000", 48, 0.42, 12, (1, 2, 4)),
    Model("NVIDIA L40S", 48, 0.74, 10, (1, 2, 4)),
    Model("NVIDIA A100-SXM4-80GB", 80, 1.12, 10, (1, 2, 4, 8)),
    Model("NVIDIA H100 80GB HBM3", 80, 2.05, 8, (1, 2, 8)),
    Model("NVIDIA H200", 141, 3.1, 4, (1, 8), all_rented=True),
    Model("AMD Instinct MI300X", 192, 1.95, 4, (1, 8)),
)

COUNTRIES = (
    ("US", 22), ("DE", 12), ("NL", 7), ("PL", 7), ("SE", 5), ("FI", 4), ("FR", 6), ("GB", 5),
    ("CA", 8), ("CZ", 5), ("BG", 4), ("KR", 4), ("JP", 3), ("SG", 3), ("AU", 2), ("BR", 2),
)  # fmt: skip
"""ISO 3166 country codes with their weight."""

HOSTS = (
    ("AMD EPYC 7542 32-Core Processor", "32/64", "ROMED8-2T"),
    ("AMD EPYC 7763 64-Core Processor", "64/128", "H12SSL-i"),
    ("AMD Ryzen 9 5950X 16-Core Processor", "16/32", "X570 AORUS ELITE"),
    ("AMD Ryzen 9 7950X 16-Core Processor", "16/32", "X670E Steel Legend"),
    ("Intel(R) Core(TM) i9-13900K", "24/32", "Z790 UD AC"),
    ("Intel(R) Core(TM) i7-10700K CPU @ 3.80GHz", "8/16", "Z490-A PRO"),
    ("Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", "14/28", "X99-F8"),
    ("Intel(R) Xeon(R) Gold 6430", "32/64", "X13DEI"),
)

RAM_PER_GPU_GB = (15.6, 31.2, 62.7, 125.6)
DISKS = ("NVMe", "SSD")
DISK_GB = (118, 238, 476, 953, 1863)
CUDA_VERSIONS = ("11.8", "12.0", "12.2", "12.4", "12.6", "12.8", "13.0")
BLACKWELL_CUDA = ("12.8", "13.0")
ROCM_CUDA = ""
"""AMD servers report no CUDA version."""


def _money(usd_per_day: float) -> dict[str, float]:
    """The same amount per day in every coin of the marketplace."""
    return {
        "bitcoin": round(usd_per_day / BTC_USD, 8),
        "CLORE-Blockchain": round(usd_per_day / CLORE_USD, 2),
        "USD-Blockchain": usd_per_day,
    }


def _price(on_demand: float, spot: float | None) -> dict[str, Any]:
    """The ``price`` object; amounts in USD per day, and no spot market when `spot` is None."""
    price: dict[str, Any] = {
        "on_demand": _money(on_demand),
        "usd": {
            "on_demand_btc": on_demand,
            "on_demand_clore": on_demand,
            "on_demand_usd": on_demand,
        },
        "original_usd": {"USD-Blockchain": {"on_demand": on_demand}},
    }
    if spot is not None:
        price["spot"] = _money(spot)
        price["usd"]["spot"] = spot
        price["original_usd"]["USD-Blockchain"]["spot"] = spot
    return price


def _specs(rng: random.Random, model: Model, count: int) -> dict[str, Any]:
    """The ``specs`` object of a server with `count` GPUs of this model."""
    cpu, cpus, board = rng.choice(HOSTS)
    countries, weights = zip(*COUNTRIES, strict=True)
    down = round(rng.uniform(90, 2_400), 2)
    disk_gb = rng.choice(DISK_GB[2:] if model.vram_gb >= 48 else DISK_GB)
    return {
        "mb": board,
        "cpu": cpu,
        "cpus": cpus,
        "ram": round(rng.choice(RAM_PER_GPU_GB) * (1 if count == 1 else count / 2), 1),
        "disk": f"{rng.choice(DISKS)} {disk_gb}GB",
        "disk_speed": round(rng.uniform(350, 5_200), 1),
        "gpu": f"{count}x {model.api_name}",
        "gpuram": model.vram_gb,
        "net": {
            "cc": rng.choices(countries, weights)[0],
            "down": down,
            "up": round(down * rng.uniform(0.3, 1.0), 2),
        },
        "backend_version": 22,
        "pcie_rev": rng.choice((3, 4, 5)),
        "pcie_width": rng.choice((4, 8, 16)),
    }


def _cuda(rng: random.Random, model: Model) -> str:
    if model.api_name.startswith("AMD"):
        return ROCM_CUDA
    return rng.choice(BLACKWELL_CUDA if "RTX 50" in model.api_name else CUDA_VERSIONS)


def _cents(usd_per_hour: float) -> int:
    """Whole cents per hour, at least one."""
    return max(1, round(usd_per_hour * 100))


def _server(rng: random.Random, model: Model, server_id: int) -> dict[str, Any]:
    """One entry of ``servers``.

    Hourly prices are whole cents, so that the price per day divides back into them exactly.
    """
    count = rng.choice(model.counts)
    hour_cents = _cents(model.usd_per_hour * count * rng.uniform(0.78, 1.6))
    # One server in eight is not on the spot market; elsewhere spot is 5 % to 45 % cheaper.
    spot_cents = None
    if rng.random() >= 1 / 8:
        spot_cents = max(1, int(hour_cents * rng.uniform(0.55, 0.95)))
    reliability = round(1 - min(0.35, rng.expovariate(28)), 4)
    rated = rng.randrange(0, 60)
    return {
        "id": server_id,
        "owner": rng.randrange(1_000, 9_999),
        "mrl": rng.choice((24, 72, 168, 336, 720, 1_440)),
        "price": _price(
            round(hour_cents * 24 / 100, 2),
            None if spot_cents is None else round(spot_cents * 24 / 100, 2),
        ),
        "rented": model.all_rented or rng.random() < 0.42,
        "specs": _specs(rng, model, count),
        "reliability": reliability,
        "allowed_coins": ["bitcoin", "CLORE-Blockchain", "USD-Blockchain"],
        "rating": {"avg": round(rng.uniform(3.1, 5.0), 2) if rated else 0, "cnt": rated},
        "gpu_array": [model.api_name] * count,
        "cuda_version": _cuda(rng, model),
    }


def build_snapshot(seed: int = SEED) -> dict[str, Any]:
    """The whole answer of the marketplace endpoint, with the two fields that say it is invented."""
    rng = random.Random(seed)
    total = sum(model.offers for model in MODELS)
    ids = iter(sorted(rng.sample(range(FIRST_ID, FIRST_ID + 70_000), total)))
    models = [model for model in MODELS for _ in range(model.offers)]
    # Real listings are not grouped by model.
    rng.shuffle(models)
    servers = [_server(rng, model, next(ids)) for model in models]
    return {"synthetic": True, "note": NOTE, "servers": servers, "my_servers": [], "code": 0}


def render(snapshot: dict[str, Any]) -> str:
    """JSON with one server per line: compact, and a changed server is one changed line."""
    head = {key: value for key, value in snapshot.items() if key != "servers"}
    lines = [json.dumps(server, separators=(",", ":")) for server in snapshot["servers"]]
    start = json.dumps(head, separators=(",", ":"))[:-1]
    return f'{start},"servers":[\n' + ",\n".join(lines) + "\n]}\n"


def main() -> None:
    """Write the snapshot next to this file."""
    SNAPSHOT_PATH.write_text(render(build_snapshot()), encoding="utf-8")
    print(f"{SNAPSHOT_PATH.name}: {sum(m.offers for m in MODELS)} synthetic offers")


if __name__ == "__main__":
    main()
