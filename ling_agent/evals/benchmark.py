"""What a benchmark is: cases, and a judge that runs one of them and says what came out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..results import Usage


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is asked and judged.

    Attributes:
        id: Unique in its benchmark; the same case has the same id in every evaluation.
        category: What kind of case it is; results are counted by it.
        data: What the benchmark needs to run it.
    """

    id: str
    category: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which cases are run.

    Attributes:
        categories: Only these; all of the benchmark's when empty.
        limit: Most cases of each category, drawn at random; None for all.
        seed: Of the drawing: the same seed draws the same cases.
        ids: Exactly these cases, whatever the other fields say.
    """

    categories: tuple[str, ...] = ()
    limit: int | None = None
    seed: int = 0
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of one case; one line of ``results.jsonl``.

    Attributes:
        case: Id of the case.
        category: Its category.
        passed: Whether the judge let it pass.
        score: From 0 to 1; of a judge that only knows right and wrong, one of the two.
        verdict: ``ok``, or in one line why not.
        prompt: What the model was sent, as text; of several requests the last.
        text: What the model wrote, as it came.
        calls: The calls that were read from it, each ``{"name": …, "arguments": {…}}``.
        repairs: Names of the repairs that reading them took.
        usage: Tokens and requests of the case.
        seconds: Wall-clock time of the case.
        status: How the run ended, for example ``completed``; ``timeout`` where it did not end.
        error: Why the case could not be judged; empty when it was. Such a case counts as failed.
        details: More, as JSON types.
    """

    case: str
    category: str
    passed: bool
    score: float
    verdict: str
    prompt: str
    text: str
    calls: tuple[Mapping[str, Any], ...]
    repairs: tuple[str, ...]
    usage: Usage
    seconds: float
    status: str
    error: str = ""
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Benchmark(ABC):
    """Cases with their judge, and the subject that they are put to.

    Attributes:
        name: For example ``bfcl``; it is written into the results.
        version: Of the package that holds the data: results of different ones are not mixed.
        headline: The categories whose mean is the macro average.
    """

    name: str
    version: str
    headline: tuple[str, ...]

    @abstractmethod
    def cases(self, selection: Selection) -> list[Case]:
        """The selected cases, in an order that depends on the selection only.

        Raises:
            ConfigurationError: No such category or case; the message has the nearest names.
        """

    @abstractmethod
    async def run(self, case: Case) -> Outcome:
        """Ask the subject, and judge what it does. Several cases may run at the same time.

        A case that takes longer than its limit is cancelled: what blocks belongs into a worker
        thread that can be left (``abandon_on_cancel=True``), as nothing can cancel it here.

        Raises:
            BackendUnavailable: The model is gone: the evaluation stops, and can go on later. Every
                other failure is an `Outcome` with its ``error``.
        """

    @abstractmethod
    async def describe(self) -> Mapping[str, Any]:
        """Model, backend and settings, as JSON types: the header of the results.

        All of it must be the same where an evaluation goes on: no dates, times or addresses that
        change.

        Raises:
            BackendError: The model cannot be asked.
        """

    async def aclose(self) -> None:  # noqa: B027 - holding nothing is a sensible default
        """Let go of what the subject holds, for example a loaded model."""
