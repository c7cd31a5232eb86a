"""`BFCL`: the benchmark, from a case to its outcome."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ...errors import BackendUnavailable, ConfigurationError
from ...results import Usage
from ..benchmark import Benchmark, Case, Outcome, Selection
from ..options import EvalOptions
from ..subject import AgentSubject, Subject
from .data import CATEGORIES, HEADLINE, MULTI_TURN, SINGLE_TURN, expand, is_multi_turn, select
from .judge import judge, one_line
from .package import version


class BFCL(Benchmark):
    """The Berkeley Function-Calling Leaderboard, version 4: single-turn and multi-turn categories.

    Its agentic categories (web search, memory) and those about the format of prompts are not here:
    they need a search engine's key, a vector database, or a model that is asked without tools.

    Args:
        subject: Is tested. The multi-turn categories need an `AgentSubject`.
        max_steps: Messages of the model in one turn of a multi-turn case; by default the package's
            own limit.

    Raises:
        ConfigurationError: The package is not installed.
    """

    name = "bfcl"
    headline = HEADLINE
    categories = CATEGORIES

    def __init__(self, subject: Subject, *, max_steps: int | None = None) -> None:
        self.version = version()
        self.subject = subject
        self._max_steps = max_steps

    @classmethod
    def of(cls, options: EvalOptions) -> BFCL:
        """The benchmark of an evaluation's settings.

        Raises:
            ConfigurationError: A setting that cannot be.
        """
        if not options.baseline:
            return cls(AgentSubject.of(options), max_steps=options.max_steps)
        from ..baselines import baseline

        return cls(baseline(options))

    def cases(self, selection: Selection) -> list[Case]:
        agent = isinstance(self.subject, AgentSubject)
        if not (agent or selection.ids or selection.categories):
            selection = Selection(SINGLE_TURN, selection.limit, selection.seed)
        wanted = () if selection.ids else expand(selection.categories)
        found = select(selection)
        if not agent and any(case.category in MULTI_TURN for case in found):
            several = [name for name in wanted if name in MULTI_TURN] or ["multi_turn_*"]
            raise ConfigurationError(
                f"{self.subject.name} answers single turns only: leave out {', '.join(several)}"
            )
        return found

    async def run(self, case: Case) -> Outcome:
        started = time.perf_counter()
        try:
            if is_multi_turn(case.category):
                from .multi_turn import run_case

                assert isinstance(self.subject, AgentSubject)
                return await run_case(self.subject, case, max_steps=self._max_steps)
            return await self._single(case)
        except BackendUnavailable:
            raise
        except Exception as error:
            return _broken(case, error, time.perf_counter() - started)

    async def _single(self, case: Case) -> Outcome:
        (messages,) = case.data["messages"]
        answer = await self.subject.answer(messages, case.data["tools"])
        verdict = judge(case, answer.calls)
        passed = verdict.passed and not answer.error
        return Outcome(
            case=case.id,
            category=case.category,
            passed=passed,
            score=float(passed),
            verdict=one_line(answer.error) if answer.error else verdict.text,
            prompt=answer.prompt,
            text=answer.text,
            calls=answer.calls,
            repairs=answer.repairs,
            usage=answer.usage,
            seconds=answer.seconds,
            status=answer.status,
            error=answer.error,
            details={**answer.details, **verdict.details},
        )

    async def describe(self) -> Mapping[str, Any]:
        return {**await self.subject.describe(), "benchmark": self.name, "package": self.version}

    async def aclose(self) -> None:
        await self.subject.aclose()


def _broken(case: Case, error: Exception, seconds: float) -> Outcome:
    """Of a case that could not be judged."""
    text = one_line(f"{type(error).__name__}: {error}")
    return Outcome(
        case=case.id,
        category=case.category,
        passed=False,
        score=0.0,
        verdict=text,
        prompt="",
        text="",
        calls=(),
        repairs=(),
        usage=Usage(),
        seconds=seconds,
        status="failed",
        error=text,
    )
