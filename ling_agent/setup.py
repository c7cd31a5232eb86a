"""`RunSetup`: an agent's configuration with one run's own settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .answers import AnswerSpec
from .approvals import Approver
from .backends.base import Backend
from .cancellation import CancelToken
from .hooks import Hooks
from .limits import Limits, Sampling
from .memory import Memory
from .planning import Planning
from .subagents import Host
from .tools import Toolset
from .tracing import Tracer


@dataclass(frozen=True, slots=True)
class RunSetup:
    """What a run needs from its agent; the agent itself is never changed by a run.

    Attributes:
        name: The agent's.
        answer: What the answer has to be.
        redact: Takes secrets out of a text; returns the same object when there are none.
        redact_value: The same for a value, such as a tool sends.
        redact_error: The same for an exception, in place.
        secrets: What they take out; a sub-agent must not show it either.
        host: The run that this one works for, when it is a sub-agent's.
        watched: Whether somebody looks at the events.
        notes: What the backend cannot do for tools that are there for this run only.
    """

    name: str
    backend: Backend
    tools: Toolset
    planning: Planning
    limits: Limits
    sampling: Sampling
    memory: Memory
    answer: AnswerSpec[Any]
    hooks: Hooks
    approve: Approver | None
    tracing: Tracer
    redact: Callable[[str], str]
    redact_value: Callable[[Any], Any]
    redact_error: Callable[[BaseException], None]
    secrets: tuple[object, ...]
    cancel: CancelToken
    deps: Any = None
    host: Host | None = None
    watched: bool = True
    notes: tuple[str, ...] = ()
