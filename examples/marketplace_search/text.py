"""How amounts, places and offers are written in tool results.

A small model copies what it reads. So every result starts with one finished English sentence, each
quantity carries its unit in its name, and no two fields hold the same thing in different units.
"""

from __future__ import annotations

from typing import Any

from .market import Offer

COUNTRY_NAMES = {
    "AU": "Australia", "BG": "Bulgaria", "BR": "Brazil", "CA": "Canada", "CH": "Switzerland",
    "CN": "China", "CZ": "Czechia", "DE": "Germany", "ES": "Spain", "FI": "Finland",
    "FR": "France", "GB": "United Kingdom", "IN": "India", "IT": "Italy", "JP": "Japan",
    "KR": "South Korea", "NL": "Netherlands", "NO": "Norway", "PL": "Poland", "RU": "Russia",
    "SE": "Sweden", "SG": "Singapore", "UA": "Ukraine", "US": "United States",
}  # fmt: skip


def usd(amount: float) -> str:
    """``"$0.31"``; a fraction of a cent is kept, because live prices have them."""
    cents = round(amount, 2)
    return f"${cents:.2f}" if abs(cents - amount) < 5e-5 else f"${amount:.4f}"


def number(amount: float) -> float | int:
    """The amount without float noise: 3 rather than 3.0, and at most four decimals."""
    rounded = round(amount, 4)
    return int(rounded) if rounded == int(rounded) else rounded


def percent(share: float) -> str:
    """``"99.12%"`` for 0.9912."""
    return f"{number(round(share * 100, 2))}%"


def country_name(code: str) -> str:
    """``"Germany"`` for ``"DE"``; an unknown code stays as it is."""
    return COUNTRY_NAMES.get(code, code or "unknown country")


def plural(count: float, noun: str) -> str:
    """``"1 hour"``, ``"24 hours"``."""
    return f"{number(count)} {noun}" if count == 1 else f"{number(count)} {noun}s"


def kind(*, spot: bool) -> str:
    """The word for the way of renting."""
    return "spot" if spot else "on demand"


def brief(offer: Offer) -> dict[str, Any]:
    """The fields of an offer that a search shows."""
    row: dict[str, Any] = {
        "offer_id": offer.id,
        "gpu": offer.label,
        "price_per_hour_usd": offer.usd_per_hour,
    }
    if offer.spot_usd_per_hour is not None:
        row["spot_price_per_hour_usd"] = offer.spot_usd_per_hour
    row["reliability"] = percent(offer.reliability)
    row["country"] = country_name(offer.country)
    return row


def spot_sentence(offer: Offer) -> str:
    """How the two prices of one offer compare."""
    if offer.spot_usd_per_hour is None:
        return "It has no spot price."
    saved = offer.usd_per_hour - offer.spot_usd_per_hour
    if abs(saved) < 5e-5:
        return "Spot and on demand cost the same."
    cheaper, by = ("Spot", saved) if saved > 0 else ("On demand", -saved)
    return f"{cheaper} is cheaper by {usd(by)} per hour."
