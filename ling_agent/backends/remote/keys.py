"""Where API keys come from."""

from __future__ import annotations

import os

from ...errors import ConfigurationError

VARIABLE = "LING_AGENT_API_KEY"


def find_key(given: str | None) -> str | None:
    """The key that was given, else that of the environment; None when there is none.

    Raises:
        ConfigurationError: It holds characters that cannot be sent; the message does not repeat it.
    """
    key = given if given is not None else os.environ.get(VARIABLE) or None
    if key is not None and not (key.isascii() and key.isprintable() and key.strip() == key):
        raise ConfigurationError("the API key holds characters that no header can: look at it")
    return key
