"""`Pool`: the HTTP client of one event loop, closed with it.

The client is held by an asynchronous generator, and both asyncio and trio close those that are left
at the end of a run: so nobody has to close a backend, and nothing stays open.
"""

from __future__ import annotations

import asyncio
import math
import urllib.request
from collections.abc import AsyncGenerator
from urllib.parse import urlsplit

import httpx2

from .connections import Connections

# Below the 5 seconds after which uvicorn (vLLM, SGLang) closes idle connections: a request on a
# connection that is just being closed would be lost.
_KEEP_ALIVE_SECONDS = 4.0


class Pool:
    """Connections to one server.

    Args:
        url: Of the server.
        connect: Seconds until a connection is there; `math.inf` waits for ever.
    """

    def __init__(self, url: str, connect: float) -> None:
        limits = httpx2.Limits(
            max_connections=None,
            max_keepalive_connections=None,
            keepalive_expiry=_KEEP_ALIVE_SECONDS,
        )
        self.client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(None, connect=connect if connect != math.inf else None),
            limits=limits,
            # httpx2's own one knows trio and proxies.
            transport=Connections(keep_alive=_KEEP_ALIVE_SECONDS)
            if _on_asyncio() and not _has_proxy(url)
            else None,
        )
        self._guard = self._hold()

    async def open(self) -> None:
        await anext(self._guard)

    async def aclose(self) -> None:
        await self._guard.aclose()

    async def _hold(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.client.aclose()


def _on_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _has_proxy(url: str) -> bool:
    """Whether the environment names a proxy for this URL."""
    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    named = parts.scheme in proxies or "all" in proxies
    return named and not urllib.request.proxy_bypass(parts.hostname or "")
