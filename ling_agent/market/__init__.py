"""Offers of rented graphics cards, as the Clore.ai marketplace has them.

`CloreOffers` reads them live; `offer_from_api` reads an answer of the API that was kept.
"""

from __future__ import annotations

from .clore import CloreOffers
from .names import short_name, split_count
from .offer import HOURS_PER_DAY, Offer, offer_from_api

__all__ = ["HOURS_PER_DAY", "CloreOffers", "Offer", "offer_from_api", "short_name", "split_count"]
