"""`evaluate`: run the cases of a benchmark that have no outcome yet, and keep each at once."""

from __future__ import annotations

import difflib
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import anyio

from ..cancellation import CancelToken, cancelled_by
from ..errors import (
    BackendRefused,
    BackendUnavailable,
    ConfigurationError,
    LingAgentError,
    ServerMisconfigured,
    StoreError,
)
from ..results import Usage
from .benchmark import Benchmark, Case, Outcome, Selection
from .manifest import Manifest
from .progress import Estimate, EvalProgress, SilentProgress
from .results import Results, ResultsWriter, writing
from .texts import one_line

INTERRUPTED = "interrupted"
"""`Results.stopped` after the token was cancelled."""

_NOT_ALLOWED = (401, 403, 404)
"""HTTP statuses that no other case would change: the key, or the model's name."""


async def evaluate(
    benchmark: Benchmark,
    selection: Selection,
    directory: Path | str,
    *,
    concurrency: int = 1,
    case_timeout: float = 600.0,
    retry_errors: bool = False,
    progress: EvalProgress | None = None,
    cancel: CancelToken | None = None,
) -> Results:
    """Run the selected cases that the directory has no outcome of.

    Each outcome is on the disk before the next case begins. Whatever ends an evaluation (a backend
    that is gone, a full disk, Ctrl-C, a crash), the same call goes on with it.

    Args:
        benchmark: Is left open.
        selection: Which cases.
        directory: Is made; or holds a part of the same evaluation.
        concurrency: Cases at the same time.
        case_timeout: Seconds that one case may take; then it has failed, and the next one begins.
        retry_errors: Run cases again that could not be judged.
        progress: Told about each case.
        cancel: Ends the evaluation; cases that run then are run again by the next call.

    Returns:
        All outcomes, those of earlier calls too; `Results.stopped` says why some are missing.

    Raises:
        ConfigurationError: No such case, or the directory holds another evaluation.
        BackendError: The model cannot be asked at all.
        StoreError: The directory cannot be used.
    """
    if concurrency < 1 or not 0 < case_timeout < math.inf:
        raise ConfigurationError("concurrency is at least 1, and case_timeout a time in seconds")
    cases = _checked(benchmark, benchmark.cases(selection))
    subject = await benchmark.describe()
    manifest = Manifest.of(benchmark, subject, selection, cases, case_timeout=case_timeout)
    with (
        writing(Path(directory), manifest) as writer,
        closing(progress or SilentProgress()) as shown,
    ):
        kept = writer.outcomes.values()
        done = {o.case: o for o in kept if not (retry_errors and o.error)}
        left = [case for case in cases if case.id not in done]
        if not left:
            return writer.results()
        shown.start(benchmark.name, len(cases), done.values())
        estimate = Estimate(left, done.values(), concurrency)
        work = _Work(benchmark, writer, left, case_timeout, estimate, shown)
        return writer.results(await work.run(concurrency, cancel))


def nearest(name: str, known: Sequence[str]) -> str:
    """What a user may have meant, for the end of a message: ``did you mean …`` or the list."""
    near = difflib.get_close_matches(name, known, n=3)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"write one of {', '.join(known)}"


class _Work:
    """The cases that are left, each of which goes to one of several workers."""

    def __init__(
        self,
        benchmark: Benchmark,
        writer: ResultsWriter,
        left: Sequence[Case],
        case_timeout: float,
        estimate: Estimate,
        progress: EvalProgress,
    ) -> None:
        self._benchmark = benchmark
        self._writer = writer
        self._left: Iterator[Case] = iter(left)
        self._case_timeout = case_timeout
        self._estimate = estimate
        self._progress = progress
        self._scope = anyio.CancelScope()
        self._stopped = ""

    async def run(self, workers: int, cancel: CancelToken | None) -> str:
        """Run them; returns why some were not, or an empty text."""
        with cancelled_by(cancel) as interrupted, self._scope:
            async with anyio.create_task_group() as group:
                for _ in range(workers):
                    group.start_soon(self._work)
        if interrupted.cancelled_caught:
            return INTERRUPTED
        return self._stopped

    async def _work(self) -> None:
        for case in self._left:
            try:
                outcome = await self._outcome(case)
                # Between the answer and the disk nothing is awaited: a judged case is kept.
                self._writer.append(outcome)
            except LingAgentError as error:
                self._stopped = self._stopped or one_line(str(error))
                self._scope.cancel()
                return
            self._progress.update(outcome, self._estimate.add(outcome))
            if outcome.error or outcome.status == "timeout":
                self._progress.note(one_line(f"{case.id}: {outcome.verdict}", 300))

    async def _outcome(self, case: Case) -> Outcome:
        """What came out of a case.

        Raises:
            LingAgentError: No other case would fare better.
        """
        began = time.monotonic()
        try:
            with anyio.move_on_after(self._case_timeout) as limit:
                return await self._benchmark.run(case)
        except Exception as error:
            if _ends_all(error):
                raise
            failure = one_line(f"{type(error).__name__}: {error}", 1000)
            verdict, status = f"could not be judged: {failure}", "failed"
        else:
            failure, status = "", "timeout"
            verdict = f"did not end within {self._case_timeout:g} s"
            assert limit.cancelled_caught
        return Outcome(
            case=case.id,
            category=case.category,
            passed=False,
            score=0.0,
            verdict=verdict,
            prompt="",
            text="",
            calls=(),
            repairs=(),
            usage=Usage(),
            seconds=time.monotonic() - began,
            status=status,
            error=failure,
        )


def _ends_all(error: Exception) -> bool:
    if isinstance(error, BackendRefused):
        return error.status in _NOT_ALLOWED
    return isinstance(
        error, BackendUnavailable | ServerMisconfigured | ConfigurationError | StoreError
    )


def _checked(benchmark: Benchmark, cases: list[Case]) -> list[Case]:
    """The cases, none of which is there twice.

    Raises:
        ConfigurationError: One is, or there are none.
    """
    if not cases:
        raise ConfigurationError(f"no case of {benchmark.name} is selected: select some")
    twice = [name for name, count in Counter(case.id for case in cases).items() if count > 1]
    if twice:
        raise ConfigurationError(f"{benchmark.name} has the case {twice[0]} more than once")
    return cases
