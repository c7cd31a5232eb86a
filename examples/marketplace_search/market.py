"""Where offers come from: the live Clore.ai marketplace or the shipped snapshot.

`open_market` picks the live one when ``CLORE_API_KEY`` is set. Both give the same `Offer` objects,
so that the tools do not know the difference. Reading is the package's own (`ling_agent.market`);
this example adds the snapshot and renting.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from ling_agent import ToolError
from ling_agent.market import HOURS_PER_DAY, CloreOffers, Offer, offer_from_api

from .generate_snapshot import SNAPSHOT_PATH

__all__ = [
    "HOURS_PER_DAY",
    "CloreMarket",
    "Market",
    "Offer",
    "SnapshotMarket",
    "offer_from_api",
    "open_market",
]


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


class CloreMarket(CloreOffers):
    """The live marketplace through the official ``clore-ai`` SDK.

    Args:
        api_key: Key of your account; reading offers costs nothing.
        base_url: Another address of the API, for tests.
        allow_rent: Without it `rent` refuses, whatever was approved. The demo leaves it off.
        ssh_key: Public key for the rented server; needed to rent.
        image: Container image that the rented server starts.
        currency: What to pay with.
    """

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
        super().__init__(api_key, base_url=base_url)
        self._allow_rent = allow_rent
        self._ssh_key = ssh_key
        self._image = image
        self._currency = currency

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
