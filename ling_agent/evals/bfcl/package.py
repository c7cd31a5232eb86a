"""The official package ``bfcl-eval``, imported without the SDKs of all vendors.

Its ``ast_checker`` imports ``bfcl_eval.constants.model_config``, which imports the handler of every
model on the leaderboard, and with them openai, anthropic, cohere, mistralai, boto3 and so on. All
that the checker takes from there is whether a model writes ``_`` for the ``.`` in function names.
So, before anything of the package is imported, a small module with one entry, for what is tested
here, is put in that place. Nothing else is changed: data, conversion of function documents,
checkers and simulated classes are the package's own. Where the real module is loaded already, the
entry is added to it.

What is left needs tree_sitter (with its Java and JavaScript grammars), tenacity, filelock and
mpmath. On import the package makes folders for results and locks beside itself; here they are made
in the user's cache directory, unless ``BFCL_PROJECT_ROOT`` says where.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ...errors import ConfigurationError
from ...extras import require

MODEL = "ling-agent"
"""Name of what is tested; the checker reads ``_`` in it as ``/``, so it has none."""

_CONFIG = "bfcl_eval.constants.model_config"
_NEEDED = ("tree_sitter", "tree_sitter_java", "tree_sitter_javascript", "tenacity", "mpmath")
_ROOT = "BFCL_PROJECT_ROOT"
_prepared = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the checker asks about a model: names with dots come with underscores, as with every
    model that is called through an OpenAI-compatible API.
    """

    underscore_to_dot: bool = True


def module(name: str) -> Any:
    """A module of the package, for example ``utils`` for ``bfcl_eval.utils``.

    Raises:
        ConfigurationError: The package, or what it needs, is not installed.
    """
    with _prepared:
        for needed in ("bfcl_eval", *_NEEDED):
            require(needed, extra="eval", why="the BFCL benchmark")
        config: Any = sys.modules.get(_CONFIG) or _stand_in()
        config.MODEL_CONFIG_MAPPING.setdefault(MODEL, _Entry())
        with _folders():
            return importlib.import_module(f"bfcl_eval.{name}")


def version() -> str:
    """Version of the package.

    Raises:
        ConfigurationError: It is not installed.
    """
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("bfcl-eval")
    except PackageNotFoundError:
        raise ConfigurationError(
            "the BFCL benchmark needs bfcl-eval, which is not installed: "
            "pip install 'ling-agent[eval]', or the small part of it that docs/evaluation.md names"
        ) from None


def _stand_in() -> ModuleType:
    made = ModuleType(_CONFIG, "Stands in for the module that imports every vendor's SDK.")
    vars(made)["MODEL_CONFIG_MAPPING"] = {}
    sys.modules[_CONFIG] = made
    return made


@contextmanager
def _folders() -> Generator[None, None, None]:
    """Tell the package where to make its folders, while it is imported."""
    if _ROOT in os.environ:
        yield
        return
    from platformdirs import user_cache_path

    os.environ[_ROOT] = str(user_cache_path("ling_agent", appauthor=False) / "bfcl")
    try:
        yield
    finally:
        del os.environ[_ROOT]
