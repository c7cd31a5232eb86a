"""`RunSetup`: an agent's configuration with one run's own settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .backends.base import Backend
from .cancellation import CancelToken
from .limits import Limits, Sampling
from .memory import Memory
from .planning import Planning
from .tools import Toolset


@dataclass(frozen=True, slots=True)
class RunSetup:
    """What a run needs from its agent; the agent itself is never changed by a run."""

    backend: Backend
    tools: Toolset
    planning: Planning
    limits: Limits
    sampling: Sampling
    memory: Memory
    deps: Any = None
    watched: bool = True
    cancel: CancelToken | None = None
