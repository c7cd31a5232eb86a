"""`Guide`: typed answers, held to their schema, and the calls and prose that may come instead."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from ling_agent.backends.embedded.grammar import CallGrammars
from ling_agent.backends.embedded.guide import Guide

from .driving import (
    NOW_CALL,
    SEARCH_CALL,
    TOOLS,
    Patched,
    drive,
    end_token,
    feed,
    guide_of,
    random_logits,
    spelling,
    tagged,
)
from .vocabularies import Loaded

pytestmark = pytest.mark.model

ANSWER = {
    "type": "object",
    "properties": {
        "price": {"type": "number"},
        "ids": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["price", "ids"],
}


GOOD = '{"price": 0.28, "ids": [1, 2]}'


def typed(loaded: Loaded, tools: list[dict[str, Any]] = TOOLS, **options: Any) -> Guide:
    """Of an answer that has a schema."""
    grammars = CallGrammars(tools, loaded.tokenizer, ANSWER)
    return guide_of(loaded, grammars, typed=True, **options)


@pytest.mark.parametrize("bare_json", [True, False])
@pytest.mark.parametrize(
    ("tools", "choice"), [([], "auto"), ([], "none"), (TOOLS, "none"), (TOOLS, "auto")]
)
def test_an_answer_that_fits_its_schema_is_left_alone(
    loaded: Loaded, tools: list[dict[str, Any]], choice: str, bare_json: bool
) -> None:
    guide = typed(loaded, tools, choice=choice, bare_json=bare_json)
    answer = drive(loaded, guide, spelling(loaded, loaded.tokens(GOOD)))
    assert (answer.text, answer.refused, answer.ended) == (GOOD, 0, True)


OTHERS = ["It costs 0.28.", tagged(NOW_CALL), NOW_CALL, "```json\n" + GOOD, "Plan: look.", "\n\n["]


@pytest.mark.parametrize("opening", OTHERS)
@pytest.mark.parametrize(("tools", "choice"), [([], "auto"), ([], "none"), (TOOLS, "none")])
def test_without_calls_the_whole_answer_is_held_to_its_schema(
    loaded: Loaded, tools: list[dict[str, Any]], choice: str, opening: str
) -> None:
    logits = random_logits(loaded, 3, spelling(loaded, loaded.tokens(opening)))
    guide = typed(loaded, tools, choice=choice, bare_json=True)
    answer = drive(loaded, guide, logits, limit=400)
    assert answer.ended
    assert answer.refused
    jsonschema.validate(json.loads(answer.text), ANSWER)


@pytest.mark.parametrize("bare_json", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        tagged(NOW_CALL),
        f"I look first.\n{tagged(NOW_CALL)}",
        f"Plan: call `now`.\n{tagged(NOW_CALL)}\n{tagged(SEARCH_CALL)}",
        "There is none.",
        f"It is {GOOD}.",
    ],
)
def test_in_place_of_a_typed_answer_prose_and_calls_are_free(
    loaded: Loaded, text: str, bare_json: bool
) -> None:
    answer = drive(
        loaded, typed(loaded, bare_json=bare_json), spelling(loaded, loaded.tokens(text))
    )
    assert (answer.text, answer.refused, answer.ended) == (text, 0, True)


def test_an_untagged_call_is_possible_where_the_family_writes_them(loaded: Loaded) -> None:
    text = f"{SEARCH_CALL}\n{NOW_CALL}"
    tokens = loaded.tokens(text)
    answer = drive(loaded, typed(loaded, bare_json=True), spelling(loaded, tokens))
    assert (answer.text, answer.refused, answer.ended) == (text, 0, True)
    answer = drive(loaded, typed(loaded), random_logits(loaded, 3, spelling(loaded, tokens)))
    assert not answer.text.startswith('{"name"')


@pytest.mark.parametrize("opening", ['{"price": "much"', '{"price": true', '{"price":1'])
def test_what_begins_as_json_where_calls_are_possible_is_held_to_the_schema(
    loaded: Loaded, opening: str
) -> None:
    logits = spelling(loaded, loaded.tokens(opening))
    answer = drive(loaded, typed(loaded), logits, limit=400)
    assert answer.refused
    assert answer.text.startswith('{"price": ')
    assert answer.ended
    jsonschema.validate(json.loads(answer.text), ANSWER)


@pytest.mark.parametrize("opening", ['{"cost"', '{\n  "price"', "{}", "```json\n{", "`"])
def test_where_calls_are_possible_no_other_json_and_no_fence_begins(
    loaded: Loaded, opening: str
) -> None:
    answer = drive(loaded, typed(loaded), spelling(loaded, loaded.tokens(opening)), limit=400)
    assert answer.refused
    assert not answer.text.startswith((opening, "`"))
    if answer.text.startswith("{"):
        assert answer.text.startswith('{"price": ')


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_a_typed_answer_waits_for_the_end_of_reasoning(loaded: Loaded, choice: str) -> None:
    """That the model begins, where it has a token for it, or the prompt has begun."""
    think = 100
    pieces = Patched(loaded, {think: b"<think>"})
    grammars = CallGrammars(TOOLS, loaded.tokenizer, ANSWER)
    begun = Guide(
        grammars,
        piece=pieces.piece,
        is_end=loaded.vocabulary.is_end,
        n_vocab=loaded.vocabulary.size,
        choice="none" if choice == "none" else "auto",
        typed=True,
    )
    assert begun.allows(think)
    begun.take(think)
    prefilled = typed(loaded, choice=choice)
    prefilled.begin("<think>")
    for guide in (begun, prefilled):
        assert not guide.inside
        feed(loaded, guide, "\nIs it {3}? Or <tool_call>?\n</think>\n\n")
        assert not guide.inside
        feed(loaded, guide, GOOD)
        assert guide.inside
        assert guide.allows(end_token(loaded))
        assert not guide.allows(loaded.tokens(" and")[0])


def test_a_typed_answer_that_begins_in_words_is_free(loaded: Loaded) -> None:
    for choice in ("auto", "none"):
        guide = typed(loaded, choice=choice)
        guide.begin("Plan: look.")
        feed(loaded, guide, " Then {write}.")
        assert not guide.inside
        assert guide.failed == ""


def test_a_typed_answer_that_is_begun_goes_on(loaded: Loaded) -> None:
    for choice in ("auto", "none"):
        guide = typed(loaded, choice=choice)
        guide.begin(GOOD[:10])
        assert guide.inside
        assert not guide.allows(end_token(loaded))
        feed(loaded, guide, GOOD[10:])
        assert guide.allows(end_token(loaded))


def test_json_is_possible_where_its_schema_cannot_be_held_to(loaded: Loaded) -> None:
    repeated = {"type": "array", "uniqueItems": True}
    grammars = CallGrammars(TOOLS, loaded.tokenizer, repeated)
    assert not grammars.holds_answers
    for text in (GOOD, "[1, 2]"):
        guide = guide_of(loaded, grammars, choice="none", typed=True)
        answer = drive(loaded, guide, spelling(loaded, loaded.tokens(text)))
        assert (answer.text, answer.refused) == (text, 0)
