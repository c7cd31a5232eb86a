"""`Timeouts`: how long a server may take."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a server may take, in seconds; `math.inf` waits for ever.

    Attributes:
        connect: Until a connection is there.
        first_token: Until the first token, with the wait in the server's queue and the prefill of
            the prompt: minutes for 256K tokens.
        between_tokens: From one token to the next.
    """

    connect: float = 10.0
    first_token: float = 600.0
    between_tokens: float = 60.0

    def __post_init__(self) -> None:
        for name in ("connect", "first_token", "between_tokens"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ConfigurationError(f"Timeouts.{name} must be seconds above 0, not {value!r}")
