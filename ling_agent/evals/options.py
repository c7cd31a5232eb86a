"""What is evaluated and how: the settings from which a benchmark makes its subject."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ..backends.remote.address import without_user
from ..errors import ConfigurationError
from ..planning import HINTS, Planning


@dataclass(frozen=True, slots=True)
class EvalOptions:
    """The settings of one evaluation. Each benchmark takes those that it knows.

    Attributes:
        backend: Backend string of the tested model; empty is the embedded default.
        profile: Name of the model's profile; None to find it out.
        planning: How the agent plans; None is the agent's own default.
        temperature: 0 is greedy.
        observation: Name of the format in which tool results are given to the model; empty is the
            product's own.
        baseline: Name of a stack that is asked in place of our agent, on the same backend; empty
            for our agent.
        max_tokens: Longest single answer.
        sampling_seed: Of the model's random generator, used above a temperature of 0. (The seed of
            `Selection` draws cases.)
        max_steps: Most messages of the model in one run of the agent; None is the benchmark's own.
        domain: tau2: which of its domains.
        user_backend: tau2: backend string of the user simulator; empty is the tested model's.
    """

    backend: str = ""
    profile: str | None = None
    planning: Planning | None = None
    temperature: float = 0.0
    observation: str = ""
    baseline: str = ""
    max_tokens: int = 1024
    sampling_seed: int = 0
    max_steps: int | None = None
    domain: str = "mock"
    user_backend: str = ""

    def __post_init__(self) -> None:
        if self.planning is not None and self.planning not in HINTS:
            raise ConfigurationError(f"planning={self.planning!r}: write {', '.join(HINTS)}")
        if not 0 <= self.temperature < float("inf"):
            raise ConfigurationError(f"temperature={self.temperature}: give a number from 0 on")
        if self.max_tokens < 1:
            raise ConfigurationError(f"max_tokens={self.max_tokens}: give at least 1")
        if self.max_steps is not None and self.max_steps < 1:
            raise ConfigurationError(f"max_steps={self.max_steps}: give at least 1")

    def settings(self) -> dict[str, Any]:
        """The settings as JSON types, for the header of the results; without users and passwords.

        Backends refuse those in a URL, but not every benchmark opens a backend by its string.
        """
        settings = dataclasses.asdict(self)
        for name in ("backend", "user_backend"):
            settings[name] = without_user(settings[name])
        return settings
