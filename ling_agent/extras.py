"""Optional dependencies: imported when they are used, with an error that says how to get them."""

from __future__ import annotations

import importlib
from types import ModuleType

from .errors import ConfigurationError


def require(module: str, *, extra: str, why: str) -> ModuleType:
    """Import an optional module.

    Raises:
        ConfigurationError: It is not installed, and the message names the extra; or it is, and
            cannot be loaded.
    """
    distribution = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != distribution:
            raise
        raise ConfigurationError(
            f"{why} needs {distribution}, which is not installed: pip install 'ling-agent[{extra}]'"
        ) from None
    except (OSError, RuntimeError) as error:
        # A library of another machine, or one that it needs is gone.
        reason = " ".join(str(error).split())
        raise ConfigurationError(
            f"{why} cannot load {distribution} ({reason}): build it again with "
            f"pip install --force-reinstall --no-cache-dir 'ling-agent[{extra}]'"
        ) from error
