"""Where API keys come from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias

from ...errors import ConfigurationError
from ...secrets import secret_text

if TYPE_CHECKING:  # pydantic is not loaded for it
    from pydantic import SecretStr

    ApiKey: TypeAlias = str | SecretStr

VARIABLE = "LING_AGENT_API_KEY"


def find_key(given: ApiKey | None) -> str | None:
    """The key that was given, else that of the environment; None when there is none.

    Raises:
        ConfigurationError: It holds characters that cannot be sent; the message does not repeat it.
    """
    key = os.environ.get(VARIABLE) or None if given is None else secret_text(given)
    if key is not None and not (key.isascii() and key.isprintable() and key.strip() == key):
        raise ConfigurationError("the API key holds characters that no header can: look at it")
    return key
