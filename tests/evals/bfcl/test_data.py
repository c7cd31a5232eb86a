"""Which cases there are, which are drawn, and what of them the model gets."""

from __future__ import annotations

import json
import random

import pytest

from ling_agent import ConfigurationError
from ling_agent.evals.benchmark import Selection
from ling_agent.evals.bfcl import CATEGORIES, GROUPS, HEADLINE, MULTI_TURN, SINGLE_TURN
from ling_agent.evals.bfcl.data import expand, of_category, select
from ling_agent.evals.bfcl.package import module

from .truth import tool_of


def ids(selection: Selection) -> list[str]:
    return [case.id for case in select(selection)]


def test_all_cases_of_the_package_are_there() -> None:
    counts = {name: len(of_category(name)) for name in CATEGORIES}
    assert counts == {
        "simple_python": 400,
        "simple_java": 100,
        "simple_javascript": 50,
        "multiple": 200,
        "parallel": 200,
        "parallel_multiple": 200,
        "irrelevance": 240,
        "live_simple": 258,
        "live_multiple": 1053,
        "live_parallel": 16,
        "live_parallel_multiple": 24,
        "live_irrelevance": 884,
        "live_relevance": 16,
        **dict.fromkeys(MULTI_TURN, 200),
    }


def test_the_groups_are_those_of_the_package() -> None:
    official = module("constants.category_mapping").TEST_COLLECTION_MAPPING
    for name, group in GROUPS.items():
        if name != "headline":
            assert set(group) == set(official[name]), name
    assert set(HEADLINE) < set(SINGLE_TURN)


def test_a_sample_depends_on_its_seed_only() -> None:
    first = ids(Selection(("multiple", "parallel"), 20, seed=1))
    assert first == ids(Selection(("multiple", "parallel"), 20, seed=1))
    assert first != ids(Selection(("multiple", "parallel"), 20, seed=2))
    assert len(first) == len(set(first)) == 40
    expected = sorted(of_category("multiple"))
    random.Random(1).shuffle(expected)
    assert set(first[:20]) == set(expected[:20])


def test_a_smaller_sample_is_part_of_a_larger_one() -> None:
    small = ids(Selection(("live_simple",), 10, seed=7))
    assert set(small) < set(ids(Selection(("live_simple",), 30, seed=7)))


def test_samples_come_in_the_order_of_the_package() -> None:
    drawn = ids(Selection(("live_simple",), 30, seed=7))
    assert drawn == [name for name in of_category("live_simple") if name in drawn]


def test_ids_are_taken_as_they_are_given() -> None:
    wanted = ("parallel_3", "simple_java_1", "parallel_3")
    assert ids(Selection(("multiple",), 1, ids=wanted)) == ["parallel_3", "simple_java_1"]


@pytest.mark.parametrize(
    ("selection", "nearest"),
    [
        (Selection(("simple_pyton",)), "simple_python"),
        (Selection(ids=("paralel_3",)), "parallel"),
        (Selection(ids=("parallel_333",)), "parallel_33"),
        (Selection(ids=("nonsense",)), "simple_python"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(selection: Selection, nearest: str) -> None:
    with pytest.raises(ConfigurationError, match=nearest):
        select(selection)


def test_groups_stand_for_their_categories_once() -> None:
    assert expand(("live_simple", "live")) == (
        "live_simple",
        *(name for name in GROUPS["live"] if name != "live_simple"),
    )
    assert expand(()) == CATEGORIES


def test_function_documents_are_converted_as_the_package_does_it() -> None:
    case = of_category("multiple")["multiple_0"]
    plain = {item["name"]: item for item in case.data["entry"]["function"]}
    assert "triangle_properties.get" in plain
    tools = {tool["function"]["name"]: tool["function"] for tool in case.data["tools"]}
    converted = tools["triangle_properties_get"]
    assert plain["triangle_properties.get"]["parameters"]["type"] == "dict"
    assert converted["parameters"]["type"] == "object"
    assert converted["description"].endswith("in Python 3 syntax.")


def test_java_parameters_are_source_text() -> None:
    case = of_category("simple_java")["simple_java_22"]
    (tool,) = case.data["tools"]
    properties = tool["function"]["parameters"]["properties"]
    assert {value["type"] for value in properties.values()} == {"string"}
    assert "Java ArrayList" in properties["ids"]["description"]
    assert case.data["entry"]["function"][0]["parameters"]["properties"]["ids"]["items"]


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_function_can_be_a_tool(category: str) -> None:
    known: set[str] = set()
    for case in of_category(category).values():
        tools = case.data["tools"]
        assert len({tool["function"]["name"] for tool in tools}) == len(tools)
        for tool in tools:
            text = json.dumps(tool)
            if text not in known:  # many cases share theirs
                known.add(text)
                assert tool_of(tool).name == tool["function"]["name"]


def test_held_out_functions_come_later() -> None:
    for case in of_category("multi_turn_miss_func").values():
        names = {tool["function"]["name"] for tool in case.data["tools"]}
        assert case.data["later"]
        for turn, tools in case.data["later"].items():
            assert case.data["messages"][turn] == []
            assert tools
            assert names.isdisjoint(tool["function"]["name"] for tool in tools)
