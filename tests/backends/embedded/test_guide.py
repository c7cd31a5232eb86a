"""Where a call begins and what it may hold: `Guide` with `Sampler`, on real vocabularies."""

from __future__ import annotations

import numpy as np
import pytest

from ling_agent import Sampling
from ling_agent.backends import NamedTool
from ling_agent.backends.embedded.grammar import CallGrammars
from ling_agent.backends.embedded.guide import Guide
from ling_agent.hermes import parse

from .driving import (
    NOW,
    NOW_CALL,
    PRETTY_CALL,
    SEARCH_CALL,
    TOOLS,
    Patched,
    allowed_pieces,
    drive,
    end_token,
    feed,
    grammars_of,
    guide_of,
    spelling,
    tagged,
    token_of,
)
from .vocabularies import Loaded

pytestmark = pytest.mark.model


# -- a model that writes valid calls is left alone ------------------------------------------------

FREE_TEXTS = {
    "words only": "The cheapest one costs 0.28 dollars.",
    "a call": tagged(SEARCH_CALL),
    "text around": f"Let me look.\n{tagged(SEARCH_CALL)}\nThat is all.",
    "several": f"{tagged(SEARCH_CALL)}\n{tagged(NOW_CALL)}\n{tagged(SEARCH_CALL)}",
    "on one line": f"<tool_call>{NOW_CALL}</tool_call> and <tool_call>{NOW_CALL}</tool_call>",
    "reasoning": f"<think>\nShould I write <tool_call> now?</think>\n\n{tagged(NOW_CALL)}",
}
BARE_TEXTS = {
    "untagged": SEARCH_CALL,
    "two untagged": f"{NOW_CALL}\n{SEARCH_CALL}",
    "fenced": f"```json\n{SEARCH_CALL}\n```",
    "pretty": PRETTY_CALL,
    "pretty and fenced": f"```json\n{PRETTY_CALL}\n```",
    "behind reasoning": f"<think>So.</think>\n\n{NOW_CALL}",
    "below a plan": f"Plan: use `now`.\n{NOW_CALL}",
    "below a list": f"Plan:\n1. Look.\n2. Answer.\n\n{NOW_CALL}",
}


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.3])
@pytest.mark.parametrize("text", [*FREE_TEXTS.values(), *BARE_TEXTS.values()])
def test_tokens_are_those_of_unconstrained_sampling(
    loaded: Loaded, text: str, temperature: float
) -> None:
    tokens = loaded.tokens(text)
    for seed in range(3):
        sampling = Sampling(temperature=temperature, seed=seed)
        logits = spelling(loaded, tokens)
        guide = guide_of(loaded, bare_json=text in BARE_TEXTS.values())
        answer = drive(loaded, guide, logits, sampling=sampling)
        assert answer.text == text
        assert answer.tokens == tokens
        assert (answer.refused, answer.ended, guide.failed) == (0, True, "")


@pytest.mark.parametrize("name", FREE_TEXTS)
def test_calls_are_held_to_a_grammar_and_text_is_not(loaded: Loaded, name: str) -> None:
    text = FREE_TEXTS[name]
    answer = drive(loaded, guide_of(loaded), spelling(loaded, loaded.tokens(text)))
    calls = parse(text, tools=TOOLS).calls
    assert answer.stretches == len(calls)
    assert (answer.forced > 5) is bool(calls)


@pytest.mark.parametrize("name", BARE_TEXTS)
def test_untagged_calls_are_held_to_a_grammar_where_the_family_writes_them(
    loaded: Loaded, name: str
) -> None:
    logits = spelling(loaded, loaded.tokens(BARE_TEXTS[name]))
    assert drive(loaded, guide_of(loaded), logits).stretches == 0
    answer = drive(loaded, guide_of(loaded, bare_json=True), logits)
    assert answer.stretches == (2 if name == "two untagged" else 1)


@pytest.mark.parametrize(
    "text",
    [
        f"Like this: {SEARCH_CALL}",
        f"A list.\n{SEARCH_CALL}",
        '{"gpu": "RTX 4090"}',
        '["name": 1]',
        f"```python\n{SEARCH_CALL}",
        f"Plan: look.\nIt looks so:\n{SEARCH_CALL}",
        f"Planning is hard.\n{SEARCH_CALL}",
        f"{tagged(NOW_CALL)}\n{SEARCH_CALL}",
        f'{NOW_CALL} is a call: {{"name": "x"}}',
    ],
)
def test_objects_in_text_are_no_calls(loaded: Loaded, text: str) -> None:
    guide = guide_of(loaded, bare_json=True)
    feed(loaded, guide, text)
    assert not guide.inside
    assert guide.allows(end_token(loaded))


# -- where a call begins --------------------------------------------------------------------------


def test_a_tag_is_found_however_it_is_spread_over_tokens(loaded: Loaded) -> None:
    byte_tokens = {
        loaded.vocabulary.piece(token): token for token in reversed(range(loaded.vocabulary.size))
    }
    text = b"So: <tool_call>"
    for cut in range(1, len(text)):
        guide = guide_of(loaded)
        parts = [text[:cut], text[cut:]]
        tokens = [
            token
            for part in parts
            for token in loaded.tokenizer.tokenize_bytes(part, parse_special=False)
        ]
        for token in tokens[:-1]:
            guide.take(token)
            assert not guide.inside
        guide.take(tokens[-1])
        assert guide.inside
    guide = guide_of(loaded)
    for byte in text:
        assert not guide.inside
        guide.take(byte_tokens[bytes([byte])])
    assert guide.inside


def test_what_a_token_holds_behind_the_tag_is_a_part_of_the_call(loaded: Loaded) -> None:
    good, bad, both = 100, 101, 102
    pieces = Patched(loaded, {good: b'>\n{"na', bad: b">\n\nx", both: b"></tool_call>"})
    guide = Guide(
        grammars_of(loaded),
        piece=pieces.piece,
        is_end=loaded.vocabulary.is_end,
        n_vocab=loaded.vocabulary.size,
    )
    for token in loaded.tokenizer.tokenize_str("Well <tool_call"):
        guide.take(token)
    assert not guide.allows(bad)
    assert not guide.allows(both)
    assert set(np.flatnonzero(~guide.mask()).tolist()) == {bad, both}
    assert guide.allows(good)
    assert not guide.inside
    guide.take(good)
    assert guide.inside
    feed(loaded, guide, "me" + NOW_CALL[len('{"name') :])
    feed(loaded, guide, "</tool_call>")
    assert not guide.inside


def test_a_refusal_is_forgotten_with_the_next_token(loaded: Loaded) -> None:
    bad = 101
    pieces = Patched(loaded, {bad: b">\n\nx"})
    guide = Guide(
        grammars_of(loaded),
        piece=pieces.piece,
        is_end=loaded.vocabulary.is_end,
        n_vocab=loaded.vocabulary.size,
    )
    for token in loaded.tokenizer.tokenize_str("<tool_call"):
        guide.take(token)
    assert not guide.allows(bad)
    guide.take(token_of(loaded, b" "))
    assert guide.allows(bad)
    assert guide.mask().all()


def test_a_token_that_ends_one_call_may_begin_the_next(loaded: Loaded) -> None:
    both = 100
    pieces = Patched(loaded, {both: b"><tool_call>"})
    guide = Guide(
        grammars_of(loaded),
        piece=pieces.piece,
        is_end=loaded.vocabulary.is_end,
        n_vocab=loaded.vocabulary.size,
    )
    guide.begin(f"<tool_call>{NOW_CALL}</tool_call")
    assert guide.inside
    # llguidance knows the token by another text, so that this one is not asked for.
    guide.begin("><tool_call>")
    assert guide.inside
    feed(loaded, guide, f"{NOW_CALL}</tool_call>")
    assert not guide.inside


def test_an_answer_may_be_fed_in_any_pieces(loaded: Loaded) -> None:
    text = f"Héllo 日本.\n{tagged(SEARCH_CALL)}\nüber"
    single = {loaded.vocabulary.piece(token): token for token in range(loaded.vocabulary.size)}
    guide = guide_of(loaded)
    inside: list[bool] = []
    for byte in text.encode():
        token = single[bytes([byte])]
        assert guide.allows(token)
        guide.take(token)
        inside.append(guide.inside)
    start, end = text.encode().index(b">") + 1, text.encode().index(b"</tool_call>") + 12
    assert inside == [start <= at + 1 < end for at in range(len(inside))]


# -- inside a call --------------------------------------------------------------------------------


def test_an_end_token_is_refused_inside_a_call_and_taken_behind_it(loaded: Loaded) -> None:
    ends = [t for t in range(loaded.vocabulary.size) if loaded.vocabulary.is_end(t)]
    assert ends
    guide = guide_of(loaded)
    assert all(map(guide.allows, ends))
    for token in loaded.tokens(tagged(SEARCH_CALL)):
        guide.take(token)
        assert all(guide.allows(end) is not guide.inside for end in ends)
    assert not guide.inside


def test_a_name_that_no_tool_has_is_put_right(loaded: Loaded) -> None:
    wrong = tagged(SEARCH_CALL.replace("search", "seek_for"))
    answer = drive(loaded, guide_of(loaded), spelling(loaded, loaded.tokens(wrong)))
    call = parse(answer.text, tools=TOOLS).calls[0]
    assert call.name in ("search", "now")
    assert answer.refused


def test_most_of_a_call_is_forced(loaded: Loaded) -> None:
    guide = guide_of(loaded, choice=NamedTool("now"))
    answer = drive(loaded, guide, spelling(loaded, loaded.tokens(tagged(NOW_CALL))))
    assert answer.text == tagged(NOW_CALL)
    assert answer.forced >= len(answer.tokens) // 2


def test_a_mask_is_what_is_allowed(loaded: Loaded) -> None:
    guide = guide_of(loaded)
    feed(loaded, guide, '<tool_call>\n{"name": "search", "arguments": {"gpu": "a", "price": 1')
    mask = guide.mask()
    for token in range(0, loaded.vocabulary.size, 7):
        if not loaded.vocabulary.is_end(token):
            assert guide.allows(token) == mask[token], loaded.vocabulary.piece(token)


def test_a_number_stays_one_that_a_float_can_hold(loaded: Loaded) -> None:
    for text, digits in (("1e30", b"012345678"), ("-2E+30", b"01234567"), ("1e-99", b"0123456789")):
        guide = guide_of(loaded)
        arguments = f'{{"gpu": "1e99999", "price": {text}'
        feed(loaded, guide, f'<tool_call>\n{{"name": "search", "arguments": {arguments}')
        single = {piece for piece in allowed_pieces(loaded, guide) if piece.isdigit()}
        assert {piece for piece in single if len(piece) == 1} == {
            bytes([digit]) for digit in digits
        }
        assert guide.allows(token_of(loaded, b"9")) is (b"9" in single)
    feed(loaded, guide, "}}\n</tool_call>")


def test_a_tool_whose_schema_cannot_be_held_to_gets_any_object(loaded: Loaded) -> None:
    parameters = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
    odd = {"type": "function", "function": {"name": "odd", "parameters": parameters}}
    grammars = CallGrammars([odd, NOW], loaded.tokenizer)
    assert len(grammars.notes) == 1
    text = tagged('{"name": "odd", "arguments": {"b": [1, 1]}}')
    answer = drive(loaded, guide_of(loaded, grammars), spelling(loaded, loaded.tokens(text)))
    assert (answer.text, answer.refused, answer.stretches) == (text, 0, 1)
