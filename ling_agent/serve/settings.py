"""`Settings`: how agents are served; checked when they are made."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from ..api_keys import Key, Keys
from ..errors import ConfigurationError

_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s?#@]+|null")
BODY_SECONDS = 30.0
"""For the whole body of a request to arrive."""


class Settings:
    """What `ling_agent.serve.asgi` was given, checked."""

    def __init__(
        self,
        *,
        api_keys: Key | Iterable[Key] = (),
        events: bool = True,
        answer_only: bool = False,
        max_runs: int = 64,
        max_body: int = 4 * 1024 * 1024,
        keepalive: float = 15.0,
        cors: Iterable[str] = (),
        allowed_hosts: Iterable[str] = (),
    ) -> None:
        """See `ling_agent.serve.asgi`.

        Raises:
            ConfigurationError: A value that cannot be.
        """
        for name, value in (("max_runs", max_runs), ("max_body", max_body)):
            if not value >= 1 or value % 1:
                raise ConfigurationError(f"{name}={value!r}: give a whole number from 1 on")
        if not (keepalive > 0 and math.isfinite(keepalive)):
            raise ConfigurationError(f"keepalive={keepalive!r}: give seconds, above 0")
        self.keys = Keys(api_keys)
        self.events = events
        self.answer_only = answer_only
        self.max_runs = max_runs
        self.max_body = max_body
        self.keepalive = keepalive
        self.cors = _texts("cors", cors)
        for origin in self.cors:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ConfigurationError(
                    f"cors: {origin!r} is no origin: write https://chat.example, without a path"
                )
        self.allowed_hosts = frozenset(map(str.lower, _texts("allowed_hosts", allowed_hosts)))


def _texts(name: str, given: Iterable[str]) -> tuple[str, ...]:
    if isinstance(given, str):  # which is an iterable of texts, of one character each
        raise ConfigurationError(f"{name}: give a list of texts, not one text")
    return tuple(given)
