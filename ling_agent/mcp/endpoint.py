"""What a connection needs to know about how its server is reached."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from ..errors import LingAgentError
from .hiding import Hider

if TYPE_CHECKING:
    from mcp import MCPError
    from mcp.client._transport import TransportStreams

    Streams: TypeAlias = TransportStreams


Fate: TypeAlias = Literal["unsent", "interrupted", "answered"]
"""Of a request: it did not reach the server's tools, nobody knows whether it did, it did."""


class Link(Protocol):
    """One attempt at a connection, from opening it to its end."""

    def streams(self) -> AbstractAsyncContextManager[Streams]:
        """The transport, in the form in which the SDK takes it."""
        ...

    def heard(self, error: Exception) -> None:
        """Something arrived that is no message of the protocol."""
        ...

    def fate(self, error: MCPError) -> Fate:
        """What became of the request that was answered with this error."""
        ...

    def reason(self, error: BaseException | None) -> LingAgentError:
        """Why there is no connection, on one line; asked after the transport was left.

        Args:
            error: What ended it; None when the server did not answer in time.
        """
        ...


class Endpoint(Protocol):
    """How a server is reached.

    Attributes:
        label: What it is called in messages; it holds no secret and no path.
        hider: Knows the secrets that it was given.
    """

    @property
    def label(self) -> str: ...

    @property
    def hider(self) -> Hider: ...

    def link(self, lost: Callable[[], None], timeout: float) -> Link:
        """Make a link, which calls ``lost`` when the server is gone; ``timeout`` in seconds."""
        ...
