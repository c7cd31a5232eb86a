"""The tools of the marketplace agent.

They are written for small models: few parameters with plain names, forgiving about spelling, and
results that begin with a ``summary`` sentence from which an answer can be copied.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, Literal

from ling_agent import Tool, ToolError, tool

from .gpu_names import UnknownGpuError, find_gpu, is_any, split_count
from .market import Market, Offer
from .text import (
    brief,
    country_name,
    kind,
    number,
    percent,
    plural,
    spot_sentence,
    usd,
)

SortKey = Literal["price", "reliability", "vram", "ram"]

YEAR = 8760  # hours
SHOWN = 3  # offers in a search result: enough to choose from, short enough for a small model
"""More offers than this fill a small context window and help nobody."""

_SEPARATORS = re.compile(r"\s*(?:,|;|/|\bvs\.?|\bversus\b|\band\b|\bor\b)\s*", re.IGNORECASE)


def _sorted(offers: Iterable[Offer], sort_by: SortKey, *, spot: bool) -> list[Offer]:
    """Best first: lowest price, or highest of the rest; equals by price and then by id."""

    def key(offer: Offer) -> tuple[float, float, int]:
        price = offer.price(spot=spot)
        cost = float("inf") if price is None else price
        wanted = {
            "price": cost,
            "reliability": -offer.reliability,
            "vram": -offer.vram_gb,
            "ram": -offer.ram_gb,
        }[sort_by]
        return wanted, cost, offer.id

    return sorted(offers, key=key)


def _of_model(offers: list[Offer], gpu: str | None) -> tuple[list[Offer], str]:
    """The offers with this GPU and how to call them; ``"2x RTX 3090"`` asks for two GPUs."""
    if gpu is None or is_any(gpu):
        return offers, "GPU"
    number_in_it = re.search(r"\d{5,}", gpu)
    if number_in_it:
        raise ToolError(
            f"{number_in_it[0]} is the number of an offer, not a GPU model. "
            f"Call offer_details with offer_id {number_in_it[0]}."
        )
    name, count = split_count(gpu)
    model = find_gpu(name, {offer.gpu for offer in offers})
    chosen = [o for o in offers if o.gpu == model and (count is None or o.gpu_count == count)]
    return chosen, model if count is None else f"{count}x {model}"


def _cheapest(offers: list[Offer], *, spot: bool = False) -> Offer | None:
    """The cheapest one that can be rented now in this way."""
    free = [o for o in offers if not o.rented and o.price(spot=spot) is not None]
    return _sorted(free, "price", spot=spot)[0] if free else None


def _by_id(offers: list[Offer], offer_id: int) -> Offer:
    for offer in offers:
        if offer.id == offer_id:
            return offer
    raise ToolError(
        f"There is no offer {offer_id}. Call browse_marketplace with the GPU model instead."
    )


def _check_hours(hours: float) -> None:
    # Not in the schema: a small model that reads a bound there writes the bound.
    if not 0 < hours <= YEAR:
        raise ToolError(f"hours is the duration: more than 0, at most {YEAR} (a year).")


def _conditions(price: float | None, reliability: float | None, spot: bool) -> str:
    """The filters in words, for the summary."""
    parts = ["as spot"] if spot else []
    if price is not None:
        parts.append(f"for {usd(price)} per hour or less")
    if reliability is not None:
        parts.append(f"with reliability of {percent(reliability)} or more")
    return "".join(f" {part}" for part in parts)


def _nothing(name: str, model_offers: list[Offer], conditions: str, *, spot: bool) -> str:
    """Why a search found nothing, and what the cheapest alternative costs."""
    text = f"None available: no {name} is available{conditions}."
    cheapest = _cheapest(model_offers, spot=spot)
    if cheapest is None:
        total, rented = len(model_offers), sum(offer.rented for offer in model_offers)
        if rented < total or not total:
            return text
        return f"{text} All {name} offers are rented ({total})."
    price = cheapest.price(spot=spot) or 0.0
    return f"{text} The cheapest available {name} costs {usd(price)} per hour."


_BEST = {
    "price": "Cheapest",
    "reliability": "Most reliable",
    "vram": "Largest GPU memory, cheapest",
    "ram": "Largest main memory, cheapest",
}


def _found(
    name: str, best: Offer, count: int, sort_by: SortKey, conditions: str, *, spot: bool
) -> str:
    """The sentences about the best offer of a search and about how many there are."""
    label = "" if best.label == name else f" ({best.label})"
    size = {"vram": f", {number(best.vram_gb)} GB VRAM", "ram": f", {number(best.ram_gb)} GB RAM"}
    return (
        f"{_BEST[sort_by]} available {name}{conditions}: offer {best.id}{label} at "
        f"{usd(best.price(spot=spot) or 0.0)} per hour {kind(spot=spot)}, "
        f"reliability {percent(best.reliability)}, {country_name(best.country)}"
        f"{size.get(sort_by, '')}. {plural(count, 'such offer')} available."
    )


def _search_tool(market: Market) -> Tool[..., Any]:
    @tool
    async def browse_marketplace(
        gpu: str = "any",
        max_price_per_hour: float | None = None,
        sort_by: SortKey = "price",
        spot: bool = False,
        min_reliability: float | None = None,
    ) -> dict[str, Any]:
        """Find offers of one GPU model: the cheapest, the most reliable, under a price.

        Args:
            gpu: GPU model, for example "RTX 4090", or "any".
            max_price_per_hour: Highest acceptable price in USD per hour.
            sort_by: "price" gives the cheapest first, "reliability" the most reliable first.
            spot: true for spot prices, false for on-demand prices.
            min_reliability: Lowest acceptable reliability in percent.
        """
        try:
            offers, name = _of_model(await market.offers(), gpu)
        except UnknownGpuError as unknown:  # an answer to a search, not a mistake
            return {"summary": str(unknown), "found": 0}
        # Small models write 0 where they mean "no limit".
        price = max_price_per_hour if max_price_per_hour and max_price_per_hour > 0 else None
        share = min_reliability if min_reliability and min_reliability > 0 else None
        if share is not None and share > 1:
            share /= 100
        matching: list[Offer] = []
        for offer in offers:
            cost = offer.price(spot=spot)
            if offer.rented or cost is None or (price is not None and cost > price):
                continue
            if offer.reliability >= (share or 0.0):
                matching.append(offer)
        conditions = _conditions(price, share, spot)
        if not matching:
            return {"summary": _nothing(name, offers, conditions, spot=spot), "found": 0}
        best, *others = _sorted(matching, sort_by, spot=spot)[:SHOWN]
        summary = _found(name, best, len(matching), sort_by, conditions, spot=spot)
        cheapest = _cheapest(matching, spot=spot)
        if cheapest is not None and cheapest.id != best.id:
            price_text = usd(cheapest.price(spot=spot) or 0.0)
            summary += f" The cheapest of them is offer {cheapest.id} at {price_text} per hour."
        return {
            "summary": summary,
            "found": len(matching),
            "best": brief(best),
            "others": [brief(offer) for offer in others],
        }

    return browse_marketplace


def _details_tool(market: Market) -> Tool[..., Any]:
    @tool
    async def offer_details(offer_id: int) -> dict[str, Any]:
        """Show one offer: country, disk, memory, CUDA, spot and on-demand price.

        For questions that give an offer number.

        Args:
            offer_id: Number of the offer, five digits.
        """
        offer = _by_id(await market.offers(), offer_id)
        spot = offer.spot_usd_per_hour
        prices = f"{usd(offer.usd_per_hour)} per hour on demand"
        if spot is not None:
            prices += f" and {usd(spot)} per hour spot"
        state = "rented, not available" if offer.rented else "available"
        return {
            "summary": f"Offer {offer.id}: {offer.label}, {number(offer.disk_gb)} GB disk, "
            f"{number(offer.ram_gb)} GB RAM, {country_name(offer.country)}, {prices}, {state}. "
            f"{spot_sentence(offer)}",
            **brief(offer),
            "available": not offer.rented,
            "gpu_count": offer.gpu_count,
            "vram_gb_per_gpu": number(offer.vram_gb),
            "ram_gb": number(offer.ram_gb),
            "disk_gb": number(offer.disk_gb),
            "cuda": offer.cuda or "none",
        }

    return offer_details


def _choose(offers: list[Offer], gpu: str, *, spot: bool) -> Offer:
    """The offer that a number means, or the cheapest available one of a GPU model."""
    if is_any(gpu):
        raise ToolError("Name a GPU model, for example RTX 4090, or the number of an offer.")
    digits = re.fullmatch(r"\s*(?:offer)?\s*#?\s*(\d+)\s*", gpu, re.IGNORECASE)
    # A model called 4090 is no offer with the number 4090: offers have five digits.
    if digits and int(digits[1]) > 9999:
        return _by_id(offers, int(digits[1]))
    model_offers, name = _of_model(offers, gpu)
    cheapest = _cheapest(model_offers, spot=spot)
    if cheapest is None:
        raise ToolError(_nothing(name, model_offers, " as spot" if spot else "", spot=spot))
    return cheapest


def _cost_tool(market: Market) -> Tool[..., Any]:
    @tool
    async def estimate_cost(
        gpu_or_offer: str,
        hours: float,
        spot: bool = False,
    ) -> dict[str, Any]:
        """Total cost of renting for some hours. For questions that give hours.

        Args:
            gpu_or_offer: GPU model (its cheapest offer is taken), or the number of an offer.
            hours: Duration in hours.
            spot: true for spot prices, false for on-demand prices.
        """
        _check_hours(hours)
        offer = _choose(await market.offers(), gpu_or_offer, spot=spot)
        price = offer.price(spot=spot)
        if price is None:
            raise ToolError(
                f"Offer {offer.id} has no spot price. "
                f"On demand it costs {usd(offer.usd_per_hour)} per hour."
            )
        total = price * hours
        note = " It is rented now, not available." if offer.rented else ""
        other = offer.spot_usd_per_hour
        hint = " (spot is cheaper)" if not spot and other is not None and other < price else ""
        if spot:
            saved = (offer.usd_per_hour - price) * hours
            note += f" That is {usd(abs(saved))} {'less' if saved >= 0 else 'more'} than on demand."
        return {
            "summary": f"{plural(hours, 'hour')} on offer {offer.id} ({offer.label}) cost "
            f"{usd(total)} in total, at {usd(price)} per hour {kind(spot=spot)}{hint}.{note}",
            "total_usd": number(total),
            "offer_id": offer.id,
            "gpu": offer.label,
            "hours": number(hours),
            "price_per_hour_usd": price,
        }

    return estimate_cost


def _compare_row(offers: list[Offer], name: str) -> dict[str, Any]:
    cheapest = _cheapest(offers)
    row: dict[str, Any] = {"gpu": name, "available": sum(not offer.rented for offer in offers)}
    if cheapest is not None:
        row["cheapest_offer_id"] = cheapest.id
        row["cheapest_price_per_hour_usd"] = cheapest.usd_per_hour
    spot = _cheapest(offers, spot=True)
    if spot is not None:
        row["cheapest_spot_price_per_hour_usd"] = spot.spot_usd_per_hour
    row["vram_gb"] = number(max((offer.vram_gb for offer in offers), default=0))
    return row


def _compare_summary(rows: list[dict[str, Any]]) -> str:
    """Which model is cheapest, what the others cost, and which cannot be had."""
    priced = [row for row in rows if "cheapest_offer_id" in row]
    priced.sort(key=lambda row: row["cheapest_price_per_hour_usd"])
    missing = "".join(f" {row['gpu']}: none available." for row in rows if row not in priced)
    if not priced:
        return missing.strip()

    def cost(row: dict[str, Any]) -> str:
        amount = usd(row["cheapest_price_per_hour_usd"])
        return f"{row['gpu']} costs {amount} per hour (offer {row['cheapest_offer_id']})"

    listing = ", ".join(cost(row) for row in priced)
    if len(priced) == 1:
        return f"{listing}.{missing}"
    low, high = (row["cheapest_price_per_hour_usd"] for row in (priced[0], priced[1]))
    if high - low < 5e-5:
        return f"{priced[0]['gpu']} and {priced[1]['gpu']} cost the same: {listing}.{missing}"
    word = f"cheaper than {priced[1]['gpu']}" if len(rows) == 2 else "cheapest"
    return f"{priced[0]['gpu']} is {word} by {usd(high - low)} per hour: {listing}.{missing}"


def _compare_tool(market: Market) -> Tool[..., Any]:
    @tool
    async def compare_gpus(gpus: list[str]) -> dict[str, Any]:
        """Compare two GPU models: which one is cheaper. For questions that name two GPU models.

        Args:
            gpus: GPU models, for example ["RTX 3090", "RTX 4090"].
        """
        offers = await market.offers()
        names = [name for text in gpus for name in _SEPARATORS.split(text) if name.strip()]
        if not names:
            raise ToolError("Name the GPU models to compare, for example RTX 3090 and RTX 4090.")
        chosen: dict[str, list[Offer]] = {}
        for text in names:
            model_offers, name = _of_model(offers, text)
            chosen[name] = model_offers
        rows = [_compare_row(model_offers, name) for name, model_offers in chosen.items()]
        # In the order of the summary: a small model mixes up what stands in two orders.
        rows.sort(key=lambda row: row.get("cheapest_price_per_hour_usd", math.inf))
        return {"summary": _compare_summary(rows), "gpus": rows}

    return compare_gpus


def _rent_tool(market: Market) -> Tool[..., Any]:
    @tool(requires_approval=True)
    async def rent_offer(offer_id: int, hours: float) -> dict[str, Any]:
        """Rent an offer. This spends money, so a person has to approve it first.

        Args:
            offer_id: Number of the offer.
            hours: Intended duration in hours.
        """
        _check_hours(hours)
        offer = _by_id(await market.offers(), offer_id)
        if offer.rented:
            raise ToolError(f"Offer {offer_id} is rented by someone else.")
        message = await market.rent(offer)
        cost = usd(offer.usd_per_hour * hours)
        return {
            "summary": f"{message} {plural(hours, 'hour')} cost {cost}. The server is not "
            "released by itself: cancel the order when you are done."
        }

    return rent_offer


def make_tools(market: Market) -> list[Tool[..., Any]]:
    """Every tool of the example, on this market. `rent_offer` asks for approval."""
    return [
        _search_tool(market),
        _cost_tool(market),
        _compare_tool(market),
        _details_tool(market),
        _rent_tool(market),
    ]
