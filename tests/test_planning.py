"""Plans as text: reading them, and taking them off the front of a stream."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ling_agent.planning import (
    CallOpening,
    PlanEnd,
    PlanSplitter,
    advance,
    answer_note,
    finish,
    parse_plan,
)
from ling_agent.results import Plan, PlanStep

WORDS = "Plan: plan **Plan:** ## search a:b 1. 2) - <tool_call> </tool_call> <think> [ ``` * # : {}"
PIECES = st.sampled_from([*WORDS.split(), " ", "\n", "\n\n", "1. ", "2. ", "- ", "Step 1: "])
TEXTS = st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=12).map("".join))


def split(*pieces: str) -> tuple[str, str]:
    splitter = PlanSplitter()
    rest = "".join(splitter.feed(piece) for piece in pieces)
    rest += splitter.finish()
    return splitter.plan, rest


@st.composite
def chunked(draw: st.DrawFn) -> list[str]:
    text = draw(TEXTS)
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=8)))
    edges = [0, *cuts, len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


@given(chunked())
def test_any_chunking_gives_the_same_as_the_whole(pieces: list[str]) -> None:
    assert split(*pieces) == split("".join(pieces))
    assert split(*"".join(pieces)) == split("".join(pieces))


@given(TEXTS)
def test_a_text_without_a_plan_passes_unchanged(text: str) -> None:
    plan, rest = split(text)
    assert plan or rest == text or re.match(r"[\s#*_]*plan[\s*_]*:", text, re.IGNORECASE)


@given(TEXTS)
def test_plan_and_rest_hold_every_word(text: str) -> None:
    plan, rest = split(text)
    if plan:
        head, _, body = text.partition(":")
        assert "plan" in head.lower()
        together = "".join((plan + rest).split())
        lost = "".join(body.split()).removesuffix(together)
        assert set(lost) <= set("*_"), "nothing but the emphasis of the word Plan"


@pytest.mark.parametrize(
    ("text", "plan", "rest"),
    [
        ("Paris.", "", "Paris."),
        ("Planning is hard.", "", "Planning is hard."),
        ("The plan: none", "", "The plan: none"),
        ("Plan: search, then answer.", "search, then answer.", ""),
        ("Plan: search.\n\nParis.", "search.", "\nParis."),
        ("Plan: search.\nParis.", "search.", "Paris."),
        ("**Plan:** search.\nParis.", "search.", "Paris."),
        ("## Plan: search.\nParis.", "search.", "Paris."),
        ("Plan:\n1. search\n2. answer\nParis.", "1. search\n2. answer", "Paris."),
        ("Plan:\n\n1. search\n2. answer", "1. search\n2. answer", ""),
        ("Plan:\n1. search\n\n2. answer", "1. search\n\n2. answer", ""),
        ("Plan:\n1. search\n\nParis.", "1. search", "\nParis."),
        (
            "Plan: call it\n<tool_call>\n{}\n</tool_call>",
            "call it",
            "<tool_call>\n{}\n</tool_call>",
        ),
        ("Plan: call it <tool_call>{}</tool_call>", "call it", "<tool_call>{}</tool_call>"),
        ('Plan:\n{"name": "f"}', "", '{"name": "f"}'),
        ('Plan: {"name": "f"}', "", ' {"name": "f"}'),
        ("Plan: x\nLet me <tool_call>", "x", "Let me <tool_call>"),
        ("Plan: x\n**Answer:** y", "x", "**Answer:** y"),
        ("Plan: x\n3.5 dollars", "x", "3.5 dollars"),
        ("Plan:\n1. x\n\n- the answer is a list", "1. x", "\n- the answer is a list"),
        ("Plan: x\n```json\n{}\n```", "x", "```json\n{}\n```"),
    ],
)
def test_what_is_a_plan(text: str, plan: str, rest: str) -> None:
    assert split(text) == (plan, rest)


def test_the_plan_is_complete_before_the_message_is() -> None:
    splitter = PlanSplitter()
    splitter.feed("Plan: search.\n")
    assert not splitter.complete
    splitter.feed("<tool_call>")
    assert splitter.complete
    assert splitter.plan == "search."


def test_an_answer_below_the_plan_is_not_held_back() -> None:
    splitter = PlanSplitter()
    assert splitter.feed("Plan: search.\nPar") == "Par"
    assert splitter.feed("is is") == "is is"


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("Plan: search, then answer.", ["search, then answer."]),
        ("1. search\n2. answer", ["search", "answer"]),
        ("Plan:\n- search\n- answer", ["search", "answer"]),
        ("Step 1: search\nStep 2: answer", ["search", "answer"]),
        ("first this\nthen that", ["first this then that"]),
    ],
)
def test_steps_of_a_plan(text: str, steps: list[str]) -> None:
    plan = parse_plan(text)
    assert plan is not None
    assert [step.text for step in plan.steps] == steps
    assert {step.status for step in plan.steps} == {"pending"}


@pytest.mark.parametrize("text", ["", "  \n", "Plan:", "Plan:\n \n"])
def test_nothing_is_no_plan(text: str) -> None:
    assert parse_plan(text) is None


def test_the_first_pending_step_is_done_next_and_the_rest_dropped_at_the_end() -> None:
    plan = Plan("", (PlanStep("a"), PlanStep("b"), PlanStep("c")))
    plan = advance(plan)
    assert [step.status for step in plan.steps] == ["done", "pending", "pending"]
    assert str(plan) == "[x] a\n[ ] b\n[ ] c"
    assert [step.status for step in finish(advance(plan)).steps] == ["done", "done", "dropped"]
    done = Plan("", (PlanStep("a", "done"),))
    assert advance(done) == done


OPENINGS = [
    '<tool_call>\n{"name": "look"',
    '{"name": "look", "arguments": {}}',
    '{\n  "name" : "look"',
    '```json\n{\n  "name": "look"',
    '[{"name": "look"}]',
    "  \n<tool_call>",
]
OTHERS = [
    "Paris.",
    '{"answer": 3}',
    '```python\nprint("name")',
    '["name"]',
    "<think>\nhm",
    'To call it write {"name": "look"}',
    "",
    " " * 100 + "<tool_call>",
]


@pytest.mark.parametrize("text", OPENINGS)
def test_a_message_that_opens_with_a_call_is_noticed(text: str) -> None:
    assert CallOpening()(text)
    opening = CallOpening()
    assert any(opening(char) for char in text)


@pytest.mark.parametrize("text", OTHERS)
def test_a_message_that_opens_otherwise_is_none(text: str) -> None:
    assert not CallOpening()(text)
    opening = CallOpening()
    assert not any(opening(char) for char in text)


def test_a_short_task_is_said_again_and_a_long_one_is_not() -> None:
    assert answer_note("What?", small=True).startswith("What? Answer in one sentence")
    assert answer_note("What?", small=False).startswith("What? Answer in words")
    assert answer_note("word " * 200, small=True).startswith("Answer in one sentence")


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        (" look\n2. answer", False),
        (" look\n2. answer\n", False),
        (" look\n2. answer\n\n3. check", False),
        (" look\n2. answer\n\nBased on", True),
        (" look\n<tool_call>", True),
    ],
)
def test_the_end_of_a_plan_is_noticed(text: str, ends: bool) -> None:
    end = PlanEnd("Plan:\n1.")
    assert any([end(char) for char in text]) is ends  # noqa: C419 - all of them are fed
