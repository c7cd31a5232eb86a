"""How far a long prompt is: told to who watches, and only where it takes more than one batch."""

from __future__ import annotations

import pytest

from ling_agent.backends import PrefillChunk, TextChunk
from ling_agent.backends.embedded import generation

from .conftest import Load
from .support import Answer, Talk, begin, finish, generate, user

LONG = user("word " * 60)


def told(answer: Answer) -> list[tuple[int, int]]:
    """The reports, none of which may come behind a text."""
    kinds = [type(chunk) for chunk in answer.chunks]
    reports = [chunk for chunk in answer.chunks if isinstance(chunk, PrefillChunk)]
    assert PrefillChunk not in kinds[len(reports) :]
    assert [report.tokens for report in reports] == sorted(report.tokens for report in reports)
    return [(report.tokens, report.total) for report in reports]


@pytest.fixture
def every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports are not held back, however fast the machine is."""
    monkeypatch.setattr(generation, "_TOLD_EVERY", 0.0)


@pytest.mark.usefixtures("every_batch")
def test_each_batch_of_a_long_prompt_is_told(load: Load) -> None:
    engine = load(n_batch=64)
    total = engine.count_tokens(LONG)
    assert total > 192
    answer = generate(engine, LONG, watched=True)
    assert any(isinstance(chunk, TextChunk) for chunk in answer.chunks)
    batches = [*range(0, total - 1, 64), total - 1]
    assert told(answer) == [*((done, total) for done in batches), (total, total)]


def test_reports_are_far_apart(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "_TOLD_EVERY", 3600.0)
    engine = load(n_batch=16)
    total = engine.count_tokens(LONG)
    assert told(generate(engine, LONG, watched=True)) == [(0, total), (total, total)]


@pytest.mark.usefixtures("every_batch")
def test_nobody_watches_and_nothing_is_told(load: Load) -> None:
    assert told(generate(load(n_batch=16), LONG)) == []


@pytest.mark.usefixtures("every_batch")
def test_a_prompt_of_one_batch_is_not_told(load: Load) -> None:
    engine = load(n_batch=512)
    assert engine.count_tokens(LONG) < 512
    assert told(generate(engine, LONG, watched=True)) == []
    assert told(generate(engine, LONG, watched=True, prefix=LONG[:40])) == []


@pytest.mark.usefixtures("every_batch")
@pytest.mark.parametrize("name", ["dense", "hybrid", "recurrent"])
def test_what_is_reused_counts_as_done(load: Load, name: str) -> None:
    engine = load(name, n_batch=64)
    talk = Talk("run", LONG)
    talk.step(engine, "more " * 60)
    answer = talk.step(engine, "And?", watched=True)
    reused = answer.usage.cached_tokens
    assert reused is not None
    assert reused > 192
    reports = told(answer)
    assert reports[0] == (reused, answer.usage.prompt_tokens)
    assert reports[-1] == (answer.usage.prompt_tokens,) * 2
    assert len(reports) >= 4
    # Everything but a few tokens is known now.
    assert told(talk.step(engine, "Again?", watched=True)) == []


@pytest.mark.usefixtures("every_batch")
def test_a_prompt_that_shares_its_batches_is_told_too(load: Load) -> None:
    engine = load(n_batch=64, n_parallel=2)
    one = begin(engine, LONG, conversation="a", watched=True)
    other = begin(engine, user("letter " * 40), conversation="b", watched=True)
    finish(engine)
    for answer in (one, other):
        reports = told(answer)
        assert reports[0][0] == 0
        assert reports[-1][0] == answer.usage.prompt_tokens


@pytest.mark.usefixtures("every_batch")
def test_a_prompt_that_is_given_up_says_no_more(load: Load) -> None:
    engine = load(n_batch=64)
    answer = begin(engine, LONG, watched=True, cancel_after=2)
    finish(engine)
    assert [tokens for tokens, _ in told(answer)] == [0, 64]
