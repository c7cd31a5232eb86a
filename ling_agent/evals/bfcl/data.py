"""The cases of BFCL: the package's data, with its conversion of function documents."""

from __future__ import annotations

import copy
import difflib
import functools
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...errors import ConfigurationError
from ..benchmark import Case, Selection
from .package import module

SINGLE_TURN = (
    "simple_python",
    "simple_java",
    "simple_javascript",
    "multiple",
    "parallel",
    "parallel_multiple",
    "irrelevance",
    "live_simple",
    "live_multiple",
    "live_parallel",
    "live_parallel_multiple",
    "live_irrelevance",
    "live_relevance",
)
MULTI_TURN = (
    "multi_turn_base",
    "multi_turn_miss_func",
    "multi_turn_miss_param",
    "multi_turn_long_context",
)
HEADLINE = (
    "simple_python",
    "multiple",
    "parallel",
    "parallel_multiple",
    "live_simple",
    "live_multiple",
    "irrelevance",
    "live_relevance",
)
CATEGORIES = SINGLE_TURN + MULTI_TURN
GROUPS: Mapping[str, tuple[str, ...]] = {
    "headline": HEADLINE,
    "single_turn": SINGLE_TURN,
    "non_live": tuple(name for name in SINGLE_TURN if not name.startswith("live_")),
    "live": tuple(name for name in SINGLE_TURN if name.startswith("live_")),
    "multi_turn": MULTI_TURN,
}
"""Names that stand for several categories; all but ``headline`` are the package's."""


def select(selection: Selection) -> list[Case]:
    """The selected cases: category by category as they are asked for, in the package's order.

    Of a category with a limit a shuffled list of its sorted ids is cut off, so that a smaller
    sample of a seed is part of a larger one.

    Raises:
        ConfigurationError: No such category or case; the message has the nearest names.
    """
    if selection.ids:
        return [_case(case_id) for case_id in dict.fromkeys(selection.ids)]
    chosen: list[Case] = []
    for category in expand(selection.categories):
        drawn = _drawn(of_category(category), selection.limit, selection.seed)
        chosen += [case for case in of_category(category).values() if case.id in drawn]
    return chosen


def expand(names: Sequence[str]) -> tuple[str, ...]:
    """The categories that names of categories and groups stand for, each once; all for none.

    Raises:
        ConfigurationError: One is neither.
    """
    found: list[str] = []
    for name in names or CATEGORIES:
        if name not in GROUPS and name not in CATEGORIES:
            raise ConfigurationError(_unknown("category", name, (*CATEGORIES, *GROUPS)))
        found += GROUPS.get(name, (name,))
    return tuple(dict.fromkeys(found))


def is_multi_turn(category: str) -> bool:
    """Whether its cases are conversations of several turns."""
    return category in MULTI_TURN


def is_relevance(category: str) -> bool:
    """Whether all that counts is if there is a call at all."""
    return category.endswith("relevance")


@functools.cache
def of_category(category: str) -> Mapping[str, Case]:
    """All cases of a category by their ids, in the package's order.

    The data of a case: ``entry``, what its checkers get; ``tools``, what the model gets, as OpenAI
    tool objects; ``messages`` of its turns; ``answer``, the ground truth, None for relevance. Of
    cases with held-out functions also ``later``: tools by the index of the turn that brings them.
    """
    utils = module("utils")
    told = utils.load_dataset_entry(category)
    plain = utils.load_dataset_entry(category, include_language_specific_hint=False)
    answers: Iterable[Any] = [None] * len(plain)
    if not is_relevance(category):  # by their place, as its runner has it
        answers = [item["ground_truth"] for item in utils.load_ground_truth_entry(category)]
    cases: dict[str, Case] = {}
    for shown, entry, answer in zip(told, plain, answers, strict=True):
        data: dict[str, Any] = {
            "entry": entry,
            "messages": shown["question"],
            "tools": tools_of(shown["function"]),
            "answer": answer,
        }
        if held := shown.get("missed_function"):
            data["later"] = {int(turn): tools_of(found) for turn, found in held.items()}
        cases[entry["id"]] = Case(entry["id"], category, data)
    return cases


def tools_of(functions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Function documents as the package's handlers for OpenAI-compatible servers send them."""
    return module("model_handler.utils").convert_to_tool(
        copy.deepcopy(list(functions)),
        module("constants.type_mappings").GORILLA_TO_OPENAPI,
        module("constants.enums").ModelStyle.OPENAI_COMPLETIONS,
    )


def _case(case_id: str) -> Case:
    category = case_id.rpartition("_")[0]
    if category not in CATEGORIES:
        raise ConfigurationError(_unknown("category", category or case_id, CATEGORIES))
    known = of_category(category)
    if case_id not in known:
        raise ConfigurationError(_unknown("case", case_id, tuple(known)))
    return known[case_id]


def _drawn(known: Mapping[str, Case], limit: int | None, seed: int) -> set[str]:
    ids = sorted(known)
    if limit is not None:
        random.Random(seed).shuffle(ids)
    return set(ids[:limit])


def _unknown(what: str, name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 3, 0.5)
    nearest = f"the nearest: {', '.join(near)}" if near else f"there are {', '.join(known[:24])}"
    return f"bfcl has no {what} {name!r}; {nearest}"
