"""Optional dependencies: imported when they are used, with an error that says how to get them."""

from __future__ import annotations

import importlib
from types import ModuleType

from .errors import ConfigurationError


def require(module: str, *, extra: str, why: str) -> ModuleType:
    """Import an optional module.

    Raises:
        ConfigurationError: It is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise ConfigurationError(
            f"{why} needs {module}, which is not installed: pip install 'ling-agent[{extra}]'"
        ) from None
