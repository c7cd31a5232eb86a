"""Usage sums and shown plans."""

from __future__ import annotations

from ling_agent import Plan, PlanStep, RunStatus, Usage


def test_usage_sums_field_by_field() -> None:
    total = Usage(10, 5, 4, 1, 2, 1.0, 0.25, 0.75) + Usage(1, 1, None, 1, 1, 0.5, 0.25, 0.25)
    assert total == Usage(11, 6, 4, 2, 3, 1.5, 0.5, 1.0)
    assert total.total_tokens == 17
    assert total.decode_tokens_per_second == 6.0


def test_unknown_cached_tokens_stay_unknown() -> None:
    assert (Usage() + Usage()).cached_tokens is None
    assert (Usage() + Usage(cached_tokens=0)).cached_tokens == 0
    assert Usage().decode_tokens_per_second is None


def test_a_plan_is_shown_with_its_status() -> None:
    plan = Plan("x", (PlanStep("a", "done"), PlanStep("b"), PlanStep("c", "dropped")))
    assert str(plan) == "[x] a\n[ ] b\n[-] c"
    assert str(Plan("as written")) == "as written"


def test_a_status_is_its_name() -> None:
    assert str(RunStatus.max_steps) == "max_steps"
    assert RunStatus("completed") is RunStatus.completed
