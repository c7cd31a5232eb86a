"""The record of dropped steps: what is asked for, what is taken over, what is made by rule."""

from __future__ import annotations

import pytest

from ling_agent import Trajectory
from ling_agent.memory.record import (
    Dropped,
    by_rule,
    checked,
    complete,
    handle_lines,
    newest_plan,
    request,
)
from ling_agent.memory.window import Window, bytes_of
from ling_agent.messages import AssistantMessage, ToolCall, ToolMessage, UserMessage

RECORD = """Goal: find the cheapest
Facts:
- Oslo has one for 500 [e3]
- Bergen has none [e77]

Decisions:
- look in Oslo first
Open:
- ask for the price"""


def log(steps: int = 3, *, result: str = "found {n}") -> Trajectory:
    trajectory = Trajectory()
    trajectory.append("task", UserMessage("Find it.\n\nhint"), task="Find it.")
    for n in range(1, steps + 1):
        call = ToolCall(f"call_{n}_0", "search", {"n": n})
        message = AssistantMessage(f"I search {n}.", None, (call,))
        trajectory.append("assistant", message, step=n)
        text = result.format(n=n)
        trajectory.append(
            "observation", ToolMessage(call.id, "search", text), step=n, call=f"search({n})"
        )
    return trajectory


def dropped(trajectory: Trajectory, record: str = "") -> Dropped:
    groups = [g for g in Window(trajectory).groups() if g[0].entry.kind == "assistant"]
    return Dropped(groups, (), record)


def test_what_the_model_is_asked_for() -> None:
    text = request(dropped(log()), words=99, room=500)
    for part in ("Goal:, Facts:, Decisions:, Open:", "At most 99 words", "Do not call a tool"):
        assert part in text
    assert text.endswith("Handles:\n[e2] search(1)\n[e4] search(2)\n[e6] search(3)")


def test_the_list_of_handles_is_bounded_and_says_so() -> None:
    text = request(dropped(log(500)), words=99, room=300)
    assert text.endswith("[e1000] search(500)")
    assert "earlier ones: use recall)" in text
    assert bytes_of(text.split("Handles:\n")[1]) < 350


def test_a_record_is_taken_over_without_handles_that_there_are_not() -> None:
    text = checked("Here it is.\n" + RECORD, {3, 4})
    assert text is not None
    assert text.startswith("Goal: find")
    assert "500 [e3]" in text
    assert "e77" not in text


@pytest.mark.parametrize(
    "text",
    [
        "## Goal\nx\n## Facts\ny",
        "**Goal:** x\n**Facts:** y",
        "goal: x\nopen: y",
        "  Goal: x\n\n  Decisions:\n- y",
    ],
)
def test_headings_as_models_write_them(text: str) -> None:
    assert checked(text, set()) is not None


@pytest.mark.parametrize(
    "text",
    ["", "I go on.", "Goal: x", "Goal: x\nGoal: y", "- Open the file\n- Facts matter", "Plan: x"],
)
def test_what_is_no_record(text: str) -> None:
    assert checked(text, set()) is None


def test_by_rule_it_names_the_goal_facts_and_decisions() -> None:
    trajectory = log()
    text = by_rule(trajectory, dropped(trajectory), room=2000)
    assert text == (
        "Goal: Find it.\n"
        "Facts:\n- [e2] search(1): found 1\n- [e4] search(2): found 2\n- [e6] search(3): found 3\n"
        "Decisions:\n- step 1: I search 1.\n- step 2: I search 2.\n- step 3: I search 3."
    )


def test_by_rule_the_newest_fit_and_what_is_left_out_is_said() -> None:
    trajectory = log(300)
    text = by_rule(trajectory, dropped(trajectory), room=600)
    assert bytes_of(text) < 700
    assert "[e600] search(300): found 300" in text
    assert "[e2] " not in text
    assert text.count("earlier ones: use recall)") == 2


def test_sizes_are_bytes_not_characters() -> None:
    trajectory = log(100, result="漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字 {n}")
    some = dropped(trajectory)
    text = by_rule(trajectory, some, room=900)
    assert bytes_of(text) < 1000
    assert bytes_of(complete(text, trajectory, some, room=1800)) < 1900


def test_what_an_earlier_record_lists_is_listed_again() -> None:
    trajectory = log(1)
    text = by_rule(trajectory, dropped(trajectory, RECORD), room=2000)
    facts = text.split("Facts:\n")[1].split("\nDecisions")[0].split("\n")
    assert facts[0] == "- Oslo has one for 500 [e3]"
    assert facts[-1] == "- [e2] search(1): found 1"
    assert "- look in Oslo first\n- step 1" in text
    assert text.endswith("Open:\n- ask for the price")


def test_it_is_also_read_when_the_model_has_written_it_in_its_own_way() -> None:
    trajectory = log(1)
    earlier = "**Goal:** x\n**Facts:** one\n* two\nthree\n## Decisions\nnone"
    text = by_rule(trajectory, dropped(trajectory, earlier), room=2000)
    assert "Facts:\n- one\n- two\n- three\n- [e2]" in text


def test_records_of_records_do_not_grow() -> None:
    trajectory, earlier = log(5), ""
    sizes: list[int] = []
    for _ in range(30):
        some = dropped(trajectory, earlier)
        earlier = complete(by_rule(trajectory, some, room=500), trajectory, some, room=1000)
        sizes.append(bytes_of(earlier))
    assert max(sizes) <= 1100


def test_it_is_completed_with_the_plan_and_the_handles() -> None:
    trajectory = log(2)
    trajectory.append("plan", step=1, text="1. search\n2. buy", steps=["search", "buy"], revision=0)
    some = dropped(trajectory, "Goal: x\nHandles:\n- [e9] search(0)")
    text = complete("Goal: y\nFacts:\n- a [e2]", trajectory, some, room=500)
    assert text == (
        "Plan: 1. search\n2. buy\nGoal: y\nFacts:\n- a [e2]\n"
        "Handles:\n- [e9] search(0)\n- [e4] search(2)"
    ), "e2 is named already"


def test_the_plan_is_the_newest_tasks() -> None:
    trajectory = log(1)
    trajectory.append("plan", step=1, text="old", steps=[], revision=0)
    assert newest_plan(trajectory) == "old"
    trajectory.append("task", UserMessage("two"), task="two")
    assert newest_plan(trajectory) == ""


def test_documents_that_leave_have_handles_and_copies_have_none() -> None:
    trajectory = Trajectory()
    document = trajectory.append("document", UserMessage("text"), name="a.txt")
    trajectory.append("task", UserMessage("one"), task="one")
    call = ToolCall("call_1_0", "recall", {})
    trajectory.append("assistant", AssistantMessage("", None, (call,)), step=1)
    trajectory.append("observation", ToolMessage(call.id, "recall", "x"), step=1, memory=True)
    trajectory.append("task", UserMessage("two"), task="two")
    groups = list(Window(trajectory).groups())[:2]
    some = Dropped(groups, (document,))
    assert handle_lines(some) == ["[e0] document a.txt"]
    text = by_rule(trajectory, some, room=500)
    assert "- [e1] earlier task: one" in text
    assert "recall" not in text
