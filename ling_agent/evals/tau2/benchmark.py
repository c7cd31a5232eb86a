"""`Tau2Benchmark`: the tasks of the package as cases that our agent is put to."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...agent import Agent
from ...backends import Backend, open_backend
from ...errors import ConfigurationError
from ...limits import Limits, Sampling
from ...tools import Tool
from ..benchmark import Benchmark, Case, Outcome, Selection
from ..options import EvalOptions
from ..recording import RecordingBackend
from ..subject import AgentSubject
from . import package
from .dialogue import MakesAgent
from .tasks import known_domain, select, tasks_of
from .verdicts import outcome_of

if TYPE_CHECKING:
    from .sides import Completion


@dataclass(frozen=True, slots=True)
class Tau2Settings:
    """What only this benchmark has.

    Attributes:
        trials: How often each task is run, with another seed each time. With a temperature of 0 on
            both sides they are all the same.
        split: Of the tasks: ``base`` is what scores are published for.
        steps: Most messages that are passed on in one simulation; the package's default.
        errors: Most calls that the environment answers with an error; the package's default.
        judge: Whether the user's model judges assertions in words. (No task of the package lets
            them count for its reward.)
        user_temperature: Of the user simulator; the package's default is 0.
    """

    trials: int = 1
    split: str = "base"
    steps: int = 200
    errors: int = 10
    judge: bool = False
    user_temperature: float = 0.0

    def __post_init__(self) -> None:
        for name in ("trials", "steps", "errors"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name}={getattr(self, name)}: give at least 1")
        if not 0 <= self.user_temperature < float("inf"):
            raise ConfigurationError(
                f"user_temperature={self.user_temperature}: give a number from 0 on"
            )


class Tau2Benchmark(Benchmark):
    """An agent of ours with the domain's tools, a simulated user, and the package's own judge.

    Args:
        options: Of any evaluation.
        settings: Of this one.
        backend: In place of the one that ``options`` names.
        user_backend: In place of the one that ``options`` names.

    Raises:
        ConfigurationError: The package is not installed, or an option is not one of its values.
    """

    name = "tau2"

    def __init__(
        self,
        options: EvalOptions,
        settings: Tau2Settings | None = None,
        *,
        backend: Backend | None = None,
        user_backend: Backend | None = None,
    ) -> None:
        self.version = package.load()
        if options.baseline:
            raise ConfigurationError(
                f"baseline={options.baseline!r}: tau2 is run with this project's agent only"
            )
        self.options = options
        self.settings = settings or Tau2Settings()
        self.headline = (known_domain(options.domain),)
        tasks_of(options.domain, self.settings.split)  # there is such a split
        self._subject = _subject(options, backend)
        named = open_backend(options.user_backend) if options.user_backend else None
        self._user_backend = user_backend or named or self._subject.backend

    def cases(self, selection: Selection) -> list[Case]:
        """Of the chosen domain; ``Selection.categories`` may name others, or several."""
        settings = self.settings
        return select(
            selection, domains=self.headline, split=settings.split, trials=settings.trials
        )

    async def describe(self) -> Mapping[str, Any]:
        """Models and settings."""
        user = await self._user_backend.describe()
        return {
            **await self._subject.describe(),
            "user_model": user.model,
            "user_backend": self._user_backend.name,
            **dataclasses.asdict(self.settings),
        }

    async def aclose(self) -> None:
        """Let go of both models."""
        await self._subject.aclose()
        if self._user_backend is not self._subject.backend:
            await self._user_backend.aclose()

    async def run(self, case: Case) -> Outcome:
        """Simulate one task once."""
        from . import simulation as of  # it needs the package, which is loaded by now

        began = time.monotonic()
        settings = self.settings
        task = tasks_of(case.category, settings.split)[case.data["task"]]
        seed = self.options.sampling_seed + int(case.data["trial"])
        recording = RecordingBackend(self._subject.backend)
        user = self._completion(f"user of {case.id}", seed)
        simulated = await of.simulate(
            case.category,
            task,
            self._maker(recording, seed),
            user,
            bounds=of.Bounds(settings.steps, settings.errors),
            seed=seed,
            observe=self._subject.observe if self._subject.observation else None,
        )
        judge = self._completion(f"judge of {case.id}", seed) if settings.judge else None
        score = await of.score(case.category, task, simulated.run, judge) if simulated.run else None
        return outcome_of(
            case,
            simulated,
            score,
            recording=recording,
            user=user.usage,
            seconds=time.monotonic() - began,
        )

    def _maker(self, recording: RecordingBackend, seed: int) -> MakesAgent:
        sampling = dataclasses.replace(self._subject.sampling, seed=seed)
        limits = Limits(max_steps=self._subject.max_steps)

        def make(tools: Sequence[Tool[..., Any]], instructions: str) -> Agent[str]:
            return self._subject.agent(
                tools,
                instructions=instructions,
                recording=recording,
                sampling=sampling,
                limits=limits,
            )

        return make

    def _completion(self, conversation: str, seed: int) -> Completion:
        from .sides import Completion

        sampling = Sampling(
            temperature=self.settings.user_temperature,
            max_tokens=self.options.max_tokens,
            seed=seed,
        )
        return Completion(self._user_backend, sampling, conversation)


def _subject(options: EvalOptions, backend: Backend | None) -> AgentSubject:
    return AgentSubject(
        backend or options.backend or None,
        planning=options.planning,
        sampling=Sampling(
            temperature=options.temperature,
            max_tokens=options.max_tokens,
            seed=options.sampling_seed,
        ),
        profile=options.profile if backend is None else None,
        observation=options.observation,
        # Of one run, which answers one message of the user: as many as any run may have.
        max_steps=options.max_steps or Limits().max_steps,
    )
