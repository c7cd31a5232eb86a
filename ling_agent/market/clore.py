"""The live Clore.ai marketplace, read through its official SDK (extra ``clore``)."""

from __future__ import annotations

import importlib
import time
from typing import Any

from ..errors import ConfigurationError, ToolError
from .offer import Offer, offer_from_api

CACHE_SECONDS = 60.0
"""The API allows one request per second, and an agent asks several times within one answer."""


class CloreOffers:
    """Reads offers; it rents nothing.

    Args:
        api_key: Key of your account; reading offers costs nothing.
        base_url: Another address of the API, for tests.

    Raises:
        ConfigurationError: The SDK is not installed.
    """

    source = "live Clore.ai marketplace"

    def __init__(self, api_key: str, *, base_url: str | None = None) -> None:
        try:
            # By name, so that neither this file nor a type checker needs the SDK.
            self._sdk: Any = importlib.import_module("clore_ai")
        except ImportError as error:
            raise ConfigurationError(
                "The live marketplace needs the clore-ai SDK: pip install 'ling-agent[clore]'"
            ) from error
        self._api_key = api_key
        self._base_url = base_url
        self._cached: list[Offer] = []
        self._cached_at = float("-inf")

    async def offers(self) -> list[Offer]:
        """Every offer, rented ones too, at most `CACHE_SECONDS` old.

        Raises:
            ToolError: The marketplace could not be read.
        """
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

    def _client(self, max_retries: int) -> Any:
        # One client per request: its connections belong to the event loop of that request.
        return self._sdk.AsyncCloreAI(
            api_key=self._api_key, base_url=self._base_url, max_retries=max_retries
        )
