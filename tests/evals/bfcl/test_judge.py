"""The judge on the package's own possible answers, in every category, and on spoiled ones."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ling_agent.evals.benchmark import Case
from ling_agent.evals.bfcl import SINGLE_TURN
from ling_agent.evals.bfcl.data import is_relevance, of_category
from ling_agent.evals.bfcl.judge import judge, one_line
from ling_agent.tools import Toolset
from ling_agent.tools.problems import ArgumentError

from .truth import Call, possible_calls, tool_of

JUDGED = [name for name in SINGLE_TURN if not is_relevance(name)]

REJECTED = {
    # Strings in a Java array or in a list of anything keep their quotes: only source that is no
    # Java would pass, and of 36 and 65, which mix types, none.
    *(f"simple_java_{number}" for number in (35, 36, 65, 78, 83, 85, 86, 89, 90, 91)),
    # A required parameter has no possible value at all.
    "live_simple_106-63-0",
    "live_simple_112-68-0",
    # The answer has a parameter that the function has not, or lacks a required one.
    "live_multiple_862-181-3",
    "live_multiple_964-207-0",
}
"""Cases whose own possible answer the official checker does not let pass."""

OPTIONAL_REJECTED = {
    # A float is given as the value of an optional integer, and an empty list where the type of the
    # items is not that of the answer's.
    "parallel_multiple_12",
    "parallel_multiple_26",
}
"""Cases in which it rejects the given value of an optional parameter, which may be left out."""


@pytest.mark.parametrize("category", JUDGED)
def test_possible_answers_pass(category: str) -> None:
    rejected: set[str] = set()
    optional_rejected: set[str] = set()
    for case in of_category(category).values():
        full, bare = (judge(case, calls).passed for calls in possible_calls(case))
        if not bare:
            rejected.add(case.id)
        elif not full:
            optional_rejected.add(case.id)
    assert rejected == {name for name in REJECTED if name.rpartition("_")[0] == category}
    assert optional_rejected == {
        name for name in OPTIONAL_REJECTED if name.rpartition("_")[0] == category
    }


OUTSIDE_THE_SCHEMA = {
    "parallel_multiple": 2,
    "live_simple": 3,
    "live_multiple": 15,
    "live_parallel_multiple": 1,
}
"""Cases of which no possible answer fits the schema of its function."""


@pytest.mark.parametrize("category", JUDGED)
def test_possible_answers_fit_the_schema(category: str) -> None:
    """A model that is held to the schema can give them: but for a few they are unchanged."""
    outside = [case for case in of_category(category).values() if not any(fitting(case))]
    assert len(outside) == OUTSIDE_THE_SCHEMA.get(category, 0), [case.id for case in outside]


def fitting(case: Case) -> list[bool]:
    tools = Toolset(map(tool_of, case.data["tools"]))
    return [all(fits(tools, call) for call in calls) for calls in possible_calls(case)]


def fits(tools: Toolset, call: Call) -> bool:
    try:
        checked = tools[call["name"]].validate(call["arguments"])
    except ArgumentError:
        return False
    return checked.json_arguments == call["arguments"]


def spoiled(calls: list[Call]) -> list[list[Call]]:
    """Other calls, each wrong in one way."""
    renamed, extra, changed = (copy.deepcopy(calls) for _ in range(3))
    renamed[0]["name"] += "_spoiled"
    extra[0]["arguments"]["spoiled_parameter"] = 1
    found = [renamed, extra, calls[:-1], [*calls, calls[-1]]]
    if changed[0]["arguments"]:
        first: Any = next(iter(changed[0]["arguments"]))
        changed[0]["arguments"][first] = "spoiled value"
        found.append(changed)
    return found


@pytest.mark.parametrize("category", JUDGED)
def test_spoiled_answers_fail(category: str) -> None:
    for case in of_category(category).values():
        *_, bare = possible_calls(case)
        for calls in spoiled(bare):
            verdict = judge(case, calls)
            assert not verdict.passed, (case.id, calls)
            assert verdict.text != "ok"
            assert "\n" not in verdict.text


def test_judging_changes_neither_case_nor_calls() -> None:
    case = of_category("live_multiple")["live_multiple_0-0-0"]
    (calls, *_) = possible_calls(case)
    before = copy.deepcopy((case, calls))
    assert judge(case, calls).passed
    assert (case, calls) == before


@pytest.mark.parametrize("category", ["irrelevance", "live_irrelevance"])
def test_irrelevance_wants_no_call(category: str) -> None:
    for case in of_category(category).values():
        assert judge(case, []).passed
        names = [tool["function"]["name"] for tool in case.data["tools"]]
        if names:
            verdict = judge(case, [{"name": names[0], "arguments": {}}])
            assert not verdict.passed
            assert names[0] in verdict.text


def test_relevance_wants_any_call() -> None:
    for case in of_category("live_relevance").values():
        assert not judge(case, []).passed
        assert judge(case, [{"name": "anything", "arguments": {"even": "wrong"}}]).passed


def test_arguments_that_are_no_object_are_no_call() -> None:
    calls = [{"name": "f", "arguments": ["no object"]}]
    assert judge(of_category("irrelevance")["irrelevance_0"], calls).passed
    simple = judge(of_category("simple_python")["simple_python_0"], calls)
    assert simple.text.startswith("ast_decoder:decoder_wrong_output_format")


def test_what_the_checker_cannot_take_is_a_failure() -> None:
    case = of_category("live_multiple")["live_multiple_0-0-0"]
    (calls, *_) = possible_calls(case)
    calls[0]["arguments"]["new_preferences"] = {"size": {"unhashable": []}}
    assert not judge(case, calls).passed


def test_verdicts_are_one_bounded_line() -> None:
    assert one_line(["a\n b", "c"]) == "a b; c"
    assert len(one_line("x" * 1000)) == 400
