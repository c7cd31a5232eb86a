"""The questions belong to the snapshot, and `check` accepts right answers and no others."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from typing import Any

import pytest

from examples.marketplace_search.market import Offer, SnapshotMarket
from examples.marketplace_search.questions import (
    QUESTIONS_PATH,
    build_questions,
    check,
    load_questions,
    render,
)
from examples.marketplace_search.tools import make_tools

QUESTIONS = load_questions()
BY_ID = {question["id"]: question for question in QUESTIONS}
SHAPES = {
    "cheapest_of_model",
    "under_price",
    "cost_for_hours",
    "best_reliability",
    "spot_vs_on_demand",
    "compare_models",
    "none_available",
    "no_tool",
}


def offers() -> dict[int, Offer]:
    return {offer.id: offer for offer in asyncio.run(SnapshotMarket().offers())}


def right(question: dict[str, Any], answer: str) -> bool:
    return check(question, answer).right


def test_is_what_the_script_writes() -> None:
    assert QUESTIONS_PATH.read_text(encoding="utf-8") == render(build_questions())


def test_covers_every_shape() -> None:
    shapes = Counter(question["shape"] for question in QUESTIONS)
    assert len(QUESTIONS) >= 24
    assert set(shapes) >= SHAPES
    assert len(BY_ID) == len(QUESTIONS)
    assert len({question["question"] for question in QUESTIONS}) == len(QUESTIONS)
    assert {question["needs_tool"] for question in QUESTIONS} == {True, False}


CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "cheapest_of_model-1": ("browse_marketplace", {"gpu": "RTX 4090"}),
    "cheapest_of_model-2": ("browse_marketplace", {"gpu": "RTX 3090"}),
    "cheapest_of_model-3": ("browse_marketplace", {"gpu": "RTX 5090"}),
    "cheapest_of_model-4": ("browse_marketplace", {"gpu": "A100"}),
    "cheapest_of_model-5": ("browse_marketplace", {"gpu": "RTX 3090"}),
    "under_price-1": ("browse_marketplace", {"gpu": "RTX 4090", "max_price_per_hour": 0.35}),
    "under_price-2": ("browse_marketplace", {"gpu": "RTX 3060", "max_price_per_hour": 0.05}),
    "under_price-3": ("browse_marketplace", {"gpu": "A6000", "max_price_per_hour": 0.45}),
    "under_price-4": ("browse_marketplace", {"gpu": "RTX 4090", "max_price_per_hour": 0.4}),
    "cost_for_hours-1": ("estimate_cost", {"gpu_or_offer": "RTX 3090", "hours": 24}),
    "cost_for_hours-2": ("estimate_cost", {"gpu_or_offer": "RTX 4090", "hours": 10}),
    "cost_for_hours-3": ("estimate_cost", {"gpu_or_offer": "L40S", "hours": 100}),
    "cost_for_hours-4": ("estimate_cost", {"gpu_or_offer": "42220", "hours": 48}),
    "best_reliability-1": ("browse_marketplace", {"gpu": "RTX 3090", "sort_by": "reliability"}),
    "best_reliability-2": ("browse_marketplace", {"gpu": "RTX 4080", "sort_by": "reliability"}),
    "best_reliability-3": ("browse_marketplace", {"gpu": "RTX 4090", "min_reliability": 99}),
    "spot_vs_on_demand-1": ("offer_details", {"offer_id": "asked"}),
    "spot_vs_on_demand-2": ("offer_details", {"offer_id": "asked"}),
    "spot_vs_on_demand-3": ("browse_marketplace", {"gpu": "RTX 4090", "spot": True}),
    "spot_vs_on_demand-4": ("estimate_cost", {"gpu_or_offer": "H100", "hours": 8, "spot": True}),
    "compare_models-1": ("compare_gpus", {"gpus": ["RTX 3090", "RTX 4090"]}),
    "compare_models-2": ("compare_gpus", {"gpus": ["H100", "A100"]}),
    "compare_models-3": ("compare_gpus", {"gpus": ["RTX 5080", "RTX 4080"]}),
    "none_available-1": ("browse_marketplace", {"gpu": "H200"}),
    "none_available-2": ("browse_marketplace", {"gpu": "RTX 4090", "max_price_per_hour": 0.1}),
    "none_available-3": ("browse_marketplace", {"gpu": "H100", "max_price_per_hour": 0.5}),
}


def asked_offer(question: dict[str, Any]) -> int:
    words = question["question"].replace(",", " ").replace("?", " ").replace(".", " ").split()
    return next(int(word) for word in words if word.isdigit() and len(word) == 5)


@pytest.mark.parametrize("name", CALLS)
def test_the_summary_of_the_right_call_is_a_right_answer(name: str) -> None:
    """Two ways to the same answer: the tools, and the loops that built the questions."""
    question = BY_ID[name]
    tool_name, arguments = CALLS[name]
    if arguments.get("offer_id") == "asked":
        arguments = {**arguments, "offer_id": asked_offer(question)}
    tools = {tool.name: tool for tool in make_tools(SnapshotMarket())}
    summary = asyncio.run(tools[tool_name](**arguments))["summary"]
    verdict = check(question, summary)
    assert verdict.right, (summary, verdict.problems)


@pytest.mark.parametrize("question", QUESTIONS, ids=list(BY_ID))
@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I do not understand the question.",
        "Offer 12345 is the cheapest at $9.87 per hour.",
        "It costs $123.45.",
        "Yes, it is available.",
        '{"name": "browse_marketplace", "arguments": {"gpu": "RTX 4090"}}',
    ],
)
def test_nonsense_is_wrong(question: dict[str, Any], answer: str) -> None:
    assert not right(question, answer)


@pytest.mark.parametrize("question", QUESTIONS, ids=list(BY_ID))
def test_no_answer_is_right_for_a_question_of_another_shape(question: dict[str, Any]) -> None:
    """A right answer to one question is no answer to an unrelated one."""
    for name in ("cost_for_hours-3", "compare_models-3", "best_reliability-2"):
        if name == question["id"]:
            continue
        tool_name, arguments = CALLS[name]
        tools = {tool.name: tool for tool in make_tools(SnapshotMarket())}
        summary = asyncio.run(tools[tool_name](**arguments))["summary"]
        assert not right(question, summary), summary


CHEAPEST = {
    "expected": {
        "offers": [{"id": 29181, "usd": 0.28, "amounts": [0.28, 0.17, 0.11]}],
        "need": "either",
    }
}


@pytest.mark.parametrize(
    "answer",
    [
        "The cheapest RTX 4090 is offer 29181 at $0.28 per hour.",
        "Offer **29181** costs 0.28 USD per hour.",
        "The cheapest RTX 4090 costs $0.28/hour in Canada.",
        "The lowest price is 28 cents per hour.",
        "offer 29181",
        "It is offer #29181 ($0.28 per hour, or $0.17 as spot).",
        "1. offer 29181: $0.28\n2. offer 31133: $0.29",
        "The price is 0.28.",
    ],
)
def test_accepts_right_answers(answer: str) -> None:
    assert right(CHEAPEST, answer)


@pytest.mark.parametrize(
    "answer",
    [
        "The cheapest RTX 4090 costs $1.28 per hour.",
        "The cheapest RTX 4090 costs $0.284 per hour.",
        "The cheapest RTX 4090 costs $28 per hour.",
        "The cheapest RTX 4090 has a reliability of 0.28%.",
        "It is offer 129181.",
        "It is offer 2918.",
        "It is offer 31133 at $0.28 per hour.",
        "It is offer 29181 at $0.82 per hour.",
        "The cheapest is offer 31133, not 29181.",
        "Offer 29181 is not the cheapest one.",
        "It costs $0.29 or maybe $0.28 per hour.",
        "None is available.",
    ],
)
def test_rejects_wrong_answers(answer: str) -> None:
    assert not right(CHEAPEST, answer)


def test_both_means_both() -> None:
    question = copy.deepcopy(CHEAPEST)
    question["expected"]["need"] = "both"
    assert right(question, "Offer 29181 at $0.28.")
    assert not right(question, "Offer 29181.")
    assert not right(question, "It costs $0.28.")
    question["expected"]["need"] = "id"
    assert not right(question, "It costs $0.28.")
    question["expected"]["need"] = "usd"
    assert not right(question, "Offer 29181.")


TOTAL = {
    "expected": {
        "usd": [{"value": 1234.5, "tolerance": 0.005}],
        "mentioned_usd": [0.83],
        "about_offers": [62267],
    }
}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The total is $1,234.50.", True),
        ("The total is 1234.5 USD, at $0.83 per hour.", True),
        ("Offer 62267 costs $1234.50 for 100 hours.", True),
        ("The total is $234.50.", False),
        ("The total is $1,234.", False),
        ("The total is $1,234.50 or $1,300.", False),
        ("Offer 31133 costs $1234.50.", False),
        ("It costs $0.83 per hour.", False),
    ],
)
def test_totals(answer: str, expected: bool) -> None:
    assert right(TOTAL, answer) is expected


CHEAPER = {"expected": {"cheaper": {"right": ["RTX 3090", "3090"], "wrong": ["RTX 4090", "4090"]}}}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The RTX 3090 is cheaper.", True),
        ("RTX 3090", True),
        ("The RTX 3090 is cheaper than the RTX 4090 by $0.15 per hour.", True),
        ("The RTX 4090 is more expensive than the RTX 3090.", True),
        ("Comparing RTX 3090 and RTX 4090, the cheaper option is the RTX 3090.", True),
        ("It is cheaper than the RTX 4090, so take the RTX 3090.", True),
        ("The 4090 is not cheaper than the 3090.", True),
        ("The RTX 3090 costs less per hour ($0.13) than the RTX 4090 ($0.28).", True),
        ("The RTX 4090 is cheaper.", False),
        ("RTX 4090", False),
        ("The RTX 4090 is cheaper than the RTX 3090.", False),
        ("The RTX 3090 is more expensive than the RTX 4090.", False),
        ("The RTX 3090 is not cheaper than the RTX 4090.", False),
        ("The cheapest is the RTX 4090, not the RTX 3090.", False),
        ("Both the RTX 3090 and the RTX 4090 are good GPUs.", False),
        ("The RTX 3090 Ti is cheaper.", False),
    ],
)
def test_compare_gpus(answer: str, expected: bool) -> None:
    assert right(CHEAPER, answer) is expected


SPOT = {"expected": {"cheaper": {"right": ["spot"], "wrong": ["on demand", "on-demand"]}}}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Spot is cheaper.", True),
        ("The spot price is lower than the on-demand price.", True),
        ("Spot is cheaper by $0.05 per hour: $0.09 against $0.14 on demand.", True),
        ("On-demand is more expensive than spot.", True),
        ("On-demand is cheaper.", False),
        ("The on-demand price is lower than the spot price.", False),
        ("Spot is not cheaper than on-demand.", False),
        ("The offer has a spot price and an on-demand price.", False),
    ],
)
def test_spot_or_on_demand(answer: str, expected: bool) -> None:
    assert right(SPOT, answer) is expected


PRICED = {
    "expected": {
        "priced": [
            {"names": ["RTX 4080", "4080"], "usd": 0.17},
            {"names": ["RTX 5080", "5080"], "usd": 0.35},
        ]
    }
}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The RTX 4080 costs $0.17 and the RTX 5080 costs $0.35 per hour.", True),
        ("$0.17 for the RTX 4080, $0.35 for the RTX 5080.", True),
        ("RTX 5080: $0.35\nRTX 4080: $0.17", True),
        ("The RTX 5080 costs $0.17 and the RTX 4080 costs $0.35 per hour.", False),
        ("$0.17 for the RTX 5080, $0.35 for the RTX 4080.", False),
        ("The RTX 4080 costs $0.17 per hour.", False),
    ],
)
def test_prices_belong_to_their_model(answer: str, expected: bool) -> None:
    assert right(PRICED, answer) is expected


NONE = {"expected": {"none": True}}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("None available: no H200 is available. All H200 offers are rented (4).", True),
        ("No, an H200 is not available right now.", True),
        ("There are no RTX 4090 offers for less than $0.10 per hour.", True),
        ("I couldn't find any RTX 4090 under $0.10 per hour.", True),
        ("No. The cheapest available RTX 4090 costs $0.28 per hour, so none is under $0.10.", True),
        ("There is no GPU model 'RTX 9090' on the marketplace.", True),
        ("All H200 offers are rented.", True),
        ("Yes, an H200 is available.", False),
        ("No problem, the H200 is available.", False),
        ("An RTX 4090 is available for $0.28 per hour.", False),
        ("None is rented: offer 29181 is available.", False),
        ("The cheapest H200 is offer 29181.", False),
    ],
)
def test_none(answer: str, expected: bool) -> None:
    assert right(NONE, answer) is expected


def test_words_and_numbers_are_whole() -> None:
    vram = BY_ID["no_tool-1"]
    assert right(vram, "VRAM stands for Video Random Access Memory.")
    assert right(vram, "Video random-access memory.")
    assert not right(vram, "VRAM is virtual memory.")
    hours = BY_ID["no_tool-2"]
    assert right(hours, "3 * 24 = 72 hours")
    assert right(hours, "There are **72** hours in three days.")
    assert not right(hours, "There are 172 hours in three days.")
    assert not right(hours, "There are 7.2 hours in three days.")
    country = BY_ID["offer_details-2"]
    known = offers()[asked_offer(country)]
    assert right(country, f"It is in {country['expected']['words'][0][0]}.")
    assert right(country, f"Country: {known.country}")
    assert not right(country, "It is in Atlantis.")
