"""`evaluate`: every case once, whatever ends an evaluation; what was done is never done again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from ling_agent import CancelToken, ConfigurationError
from ling_agent.errors import BackendRefused, BackendUnavailable
from ling_agent.evals.benchmark import Case, Outcome, Selection
from ling_agent.evals.options import EvalOptions
from ling_agent.evals.results import Results, read_results
from ling_agent.evals.runner import INTERRUPTED, evaluate

from ..helpers import GUARD
from .sums import COUNT, Sums, files, lines, until

pytestmark = pytest.mark.anyio

ALL = 2 * COUNT


def found(results: Results) -> list[Outcome]:
    """The outcomes without what differs from one time to the next."""
    return [dataclasses.replace(outcome, seconds=0.0) for outcome in results.outcomes]


class Failing(Sums):
    """Sums whose judge raises at one case."""

    def __init__(self, case: str, error: Exception) -> None:
        super().__init__()
        self.case, self.error = case, error

    async def run(self, case: Case) -> Outcome:
        if case.id == self.case:
            self.asked.append(case.id)
            raise self.error
        return await super().run(case)


async def test_every_case_is_run_judged_and_kept(tmp_path: Path) -> None:
    sums = Sums()
    results = await evaluate(sums, Selection(), tmp_path / "new" / "one")
    assert results.complete
    assert not results.stopped
    assert sorted(sums.asked) == sorted(o.case for o in results.outcomes)
    assert [o.case for o in results.outcomes[:3]] == ["small_0", "small_1", "small_2"]
    small = {o.case: o for o in results.outcomes if o.category == "small"}
    # What the scripted model gets wrong: multiples of 3; and of 5 it makes no call.
    assert [n for n in range(COUNT) if small[f"small_{n}"].passed] == [1, 2, 4, 7, 8, 11]
    assert small["small_10"].verdict == "no call"
    assert small["small_3"].verdict == "wrong value: {'a': 3, 'b': 8}"
    assert small["small_1"].calls == ({"name": "add", "arguments": {"a": 1, "b": 7}},)
    assert small["small_1"].prompt == "Add 1 and 7."
    assert small["small_1"].usage.completion_tokens > 0
    assert found(read_results(tmp_path / "new" / "one")) == found(results)
    assert not sums.closed  # whoever made it closes it


async def test_a_second_call_runs_nothing_and_changes_nothing(tmp_path: Path) -> None:
    first = await evaluate(Sums(), Selection(), tmp_path)
    before = files(tmp_path)
    again = Sums()
    second = await evaluate(again, Selection(), tmp_path)
    assert again.asked == []
    assert second.outcomes == first.outcomes
    assert files(tmp_path) == before


async def test_no_more_cases_run_at_a_time_than_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    monkeypatch.setenv("SUMS_GATE", f"0:{gate}")
    sums = Sums()
    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: evaluate(sums, Selection(), tmp_path / "out", concurrency=5))
            await until(lambda: sums.running == 5)
            gate.touch()
    assert sums.most == 5
    one_by_one = await evaluate(Sums(), Selection(), tmp_path / "other")
    assert found(read_results(tmp_path / "out")) == found(one_by_one)


async def test_a_case_that_never_ends_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUMS_HANGS", "4")
    with anyio.fail_after(GUARD):
        results = await evaluate(Sums(), Selection(), tmp_path, case_timeout=0.5)
    assert results.complete
    outcome = next(o for o in results.outcomes if o.case == "small_4")
    assert (outcome.passed, outcome.status, outcome.error) == (False, "timeout", "")
    assert outcome.verdict == "did not end within 0.5 s"
    assert outcome.seconds >= 0.5
    assert [o.case for o in results.outcomes if o.status == "timeout"] == ["small_4"]


async def test_a_limit_of_its_own_does_not_hide_a_timeout_of_the_judge(tmp_path: Path) -> None:
    results = await evaluate(Failing("small_4", TimeoutError("no answer")), Selection(), tmp_path)
    outcome = next(o for o in results.outcomes if o.case == "small_4")
    assert (outcome.status, outcome.error) == ("failed", "TimeoutError: no answer")


@pytest.mark.parametrize(
    "error",
    [
        BackendUnavailable("the server\nwent away"),
        BackendRefused("the key is wrong", status=401),
        ConfigurationError("no such thing"),
    ],
)
async def test_what_no_other_case_would_survive_stops_and_is_gone_on_with(
    tmp_path: Path, error: Exception
) -> None:
    stopped = await evaluate(Failing("small_4", error), Selection(), tmp_path)
    assert [o.case for o in stopped.outcomes] == [f"small_{n}" for n in range(4)]
    assert stopped.stopped == " ".join(str(error).split())
    assert not stopped.complete
    again = Sums()
    results = await evaluate(again, Selection(), tmp_path)
    assert len(again.asked) == ALL - 4
    whole = await evaluate(Sums(), Selection(), tmp_path / "whole")
    assert found(results) == found(whole)


async def test_one_that_dies_cancels_those_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUMS_HANGS", "2")
    monkeypatch.setenv("SUMS_GONE", "5")
    with anyio.fail_after(GUARD):
        results = await evaluate(Sums(), Selection(), tmp_path, concurrency=3)
    assert results.stopped == "the server went away"
    assert {"small_0", "small_1"} <= {o.case for o in results.outcomes}
    assert "small_2" not in {o.case for o in results.outcomes}


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("of the judge"), BackendRefused("too long", status=400)]
)
async def test_a_case_that_cannot_be_judged_is_an_error_and_the_next_one_begins(
    tmp_path: Path, error: Exception
) -> None:
    results = await evaluate(Failing("small_4", error), Selection(), tmp_path)
    assert results.complete
    outcome = next(o for o in results.outcomes if o.case == "small_4")
    assert outcome.error == f"{type(error).__name__}: {error}"
    assert outcome.verdict == f"could not be judged: {outcome.error}"
    assert not outcome.passed


async def test_errors_are_run_again_when_asked_for(tmp_path: Path) -> None:
    await evaluate(Failing("small_4", ZeroDivisionError()), Selection(), tmp_path)
    kept = Sums()
    await evaluate(kept, Selection(), tmp_path)
    assert kept.asked == []
    again = Sums()
    results = await evaluate(again, Selection(), tmp_path, retry_errors=True)
    assert again.asked == ["small_4"]
    assert len(lines(tmp_path)) == ALL + 1
    assert found(results) == found(await evaluate(Sums(), Selection(), tmp_path / "whole"))


async def test_a_token_ends_it_and_what_is_done_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = CancelToken()
    monkeypatch.setenv("SUMS_GATE", f"6:{tmp_path / 'never'}")
    sums = Sums()
    ended: list[Results] = []

    async def run() -> None:
        ended.append(await evaluate(sums, Selection(), tmp_path / "out", cancel=token))

    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await until(lambda: len(sums.asked) == 7)
            token.cancel()
    assert ended[0].stopped == INTERRUPTED
    assert [o.case for o in ended[0].outcomes] == [f"small_{n}" for n in range(6)]
    monkeypatch.delenv("SUMS_GATE")
    results = await evaluate(Sums(), Selection(), tmp_path / "out")
    assert found(results) == found(await evaluate(Sums(), Selection(), tmp_path / "whole"))


async def test_a_cancelled_task_leaves_the_directory_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUMS_GATE", f"3:{tmp_path / 'never'}")
    sums = Sums()
    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            group.start_soon(evaluate, sums, Selection(), tmp_path / "out")
            await until(lambda: len(sums.asked) == 4)
            group.cancel_scope.cancel()
    assert len(lines(tmp_path / "out")) == 3
    monkeypatch.delenv("SUMS_GATE")
    assert (await evaluate(Sums(), Selection(), tmp_path / "out")).complete


class Twice(Sums):
    """Sums with one case too many."""

    def cases(self, selection: Selection) -> list[Case]:
        return [*super().cases(selection), Case("small_3", "small", {})]


async def test_selections_that_cannot_be_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no category smal: did you mean small"):
        await evaluate(Sums(), Selection(categories=("smal",)), tmp_path / "a")
    with pytest.raises(ConfigurationError, match="no case of sums is selected"):
        await evaluate(Sums(), Selection(ids=("none",)), tmp_path / "b")
    with pytest.raises(ConfigurationError, match="small_3 more than once"):
        await evaluate(Twice(), Selection(), tmp_path / "c")
    for concurrency, seconds in ((0, 1.0), (1, 0.0), (1, float("nan"))):
        with pytest.raises(ConfigurationError, match="concurrency is at least 1"):
            await evaluate(
                Sums(), Selection(), tmp_path, concurrency=concurrency, case_timeout=seconds
            )
    assert files(tmp_path) == {}


class Unreachable(Sums):
    """Sums whose model cannot be asked at all."""

    async def describe(self) -> Mapping[str, Any]:
        raise BackendUnavailable("no server")


async def test_a_model_that_cannot_be_asked_is_told_before_anything_is_written(
    tmp_path: Path,
) -> None:
    with pytest.raises(BackendUnavailable, match="no server"):
        await evaluate(Unreachable(), Selection(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("other", "selection", "timeout", "told"),
    [
        (
            Sums(version="2.0"),
            Selection(),
            600.0,
            'benchmark_version is "1.0" there and "2.0" here',
        ),
        (
            Sums(EvalOptions(temperature=0.5)),
            Selection(),
            600.0,
            r"subject\.settings\.temperature is 0\.0 there and 0\.5 here",
        ),
        (Sums(), Selection(seed=3), 600.0, r"selection\.seed is 0 there and 3 here"),
        (Sums(), Selection(limit=2), 600.0, r"selection\.limit is null there and 2 here"),
        (Sums(), Selection(), 5.0, r"case_timeout is 600\.0 there and 5\.0 here"),
    ],
)
async def test_another_evaluation_s_directory_is_refused_and_left_as_it_is(
    tmp_path: Path, other: Sums, selection: Selection, timeout: float, told: str
) -> None:
    await evaluate(Sums(), Selection(), tmp_path)
    before = files(tmp_path)
    other.asked.clear()
    with pytest.raises(ConfigurationError, match=told) as caught:
        await evaluate(other, selection, tmp_path, case_timeout=timeout)
    assert "give another directory" in str(caught.value)
    assert other.asked == []
    assert files(tmp_path) == before
