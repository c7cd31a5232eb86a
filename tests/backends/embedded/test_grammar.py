"""Grammars of calls on real vocabularies: what they take, which schemas they cannot hold to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from ling_agent.backends.base import DRAFTS
from ling_agent.backends.embedded.grammar import CallGrammars
from ling_agent.backends.embedded.schemas import schema_notes, tightened

from .vocabularies import PLAIN_TAGS, SPECIAL_TAGS, Loaded, load

pytestmark = pytest.mark.model


def tool(name: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
    function: dict[str, Any] = {"name": name, "description": "What it does."}
    if parameters is not None:
        function["parameters"] = parameters
    return {"type": "function", "function": function}


def schema(properties: Mapping[str, Any], **keywords: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), **keywords}


SEARCH = tool(
    "search",
    {
        "type": "object",
        "properties": {"gpu": {"type": "string"}, "price": {"type": "number"}},
        "required": ["gpu"],
    },
)
NOW = tool("now")


@pytest.fixture(scope="module", params=[SPECIAL_TAGS, PLAIN_TAGS])
def loaded(request: pytest.FixtureRequest) -> Loaded:
    return load(str(request.param))


@pytest.fixture(scope="module")
def grammars(loaded: Loaded) -> CallGrammars:
    return CallGrammars([SEARCH, NOW], loaded.tokenizer)


def takes(loaded: Loaded, matcher: Any, text: str, *, special: bool = True) -> bool:
    """Whether the grammar takes the whole text, and accepts it as complete."""
    assert not matcher.get_error()
    tokens = loaded.tokenizer.tokenize_str(text, parse_special=special)
    if matcher.validate_tokens(tokens) != len(tokens):
        return False
    return bool(matcher.consume_tokens(tokens)) and bool(matcher.is_accepting())


def takes_arguments(loaded: Loaded, parameters: Mapping[str, Any], arguments: str) -> bool:
    grammars = CallGrammars([tool("t", parameters)], loaded.tokenizer)
    assert grammars.notes == ()
    text = f'{{"name": "t", "arguments": {arguments}}}</tool_call>'
    return takes(loaded, grammars.rest_of_tagged(), text)


CALL = '{"name": "search", "arguments": {"gpu": "RTX 4090", "price": 0.5}}'
NO_ARGUMENTS = '{"name": "now", "arguments": {}}'


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("call", [CALL, NO_ARGUMENTS])
def test_a_tagged_call_ends_with_its_tag_in_either_spelling(
    loaded: Loaded, grammars: CallGrammars, call: str, special: bool
) -> None:
    for text in (f"\n{call}\n</tool_call>", f"{call}</tool_call>"):
        assert takes(loaded, grammars.rest_of_tagged(), text, special=special)
        assert takes(loaded, grammars.rest_of_tagged(), f"{text}\nDone.", special=special)
    assert not takes(loaded, grammars.rest_of_tagged(), f"\n{call}\n")


@pytest.mark.parametrize(
    "call",
    [
        '{"name": "other", "arguments": {}}',
        '{"name": "now", "arguments": {"a": 1}}',
        '{"name": "search", "arguments": {}}',
        '{"name": "search", "arguments": {"gpu": 4090}}',
        '{"name": "search", "arguments": {"gpu": "a", "colour": "red"}}',
        '{"name": "search", "arguments": {"gpu": "a"}, "id": 1}',
        '{"name": "search"}',
        '{"name":"now","arguments":{}}',
        '{ "name": "now", "arguments": {}}',
        '{"name": "search", "arguments": {"gpu": "a"',
    ],
)
def test_a_call_that_would_be_refused_is_none_of_the_grammar(
    loaded: Loaded, grammars: CallGrammars, call: str
) -> None:
    assert not takes(loaded, grammars.rest_of_tagged(), f"{call}</tool_call>")
    assert not takes(loaded, grammars.whole_calls(), f"<tool_call>\n{call}\n</tool_call>")


def test_an_untagged_call_is_as_strict_as_it_began(loaded: Loaded, grammars: CallGrammars) -> None:
    strict = ' "search", "arguments": {"gpu": "a"}}'
    pretty = ' "search",\n  "arguments": {\n    "gpu": "a"\n  }\n}'
    for text, fits_strict in ((strict, True), (pretty, False), (strict.replace(" ", ""), False)):
        plain = grammars.rest_of_untagged(fenced=False, pretty=False)
        assert takes(loaded, plain, text) is fits_strict
        assert takes(loaded, grammars.rest_of_untagged(fenced=False, pretty=True), text)
        fenced = grammars.rest_of_untagged(fenced=True, pretty=True)
        assert not takes(loaded, fenced, text)
        fenced = grammars.rest_of_untagged(fenced=True, pretty=True)
        assert takes(loaded, fenced, f"{text}\n```")


def test_a_whole_answer_is_calls_joined_by_line_breaks(
    loaded: Loaded, grammars: CallGrammars
) -> None:
    one, other = (f"<tool_call>\n{call}\n</tool_call>" for call in (CALL, NO_ARGUMENTS))
    assert takes(loaded, grammars.whole_calls(), one)
    assert takes(loaded, grammars.whole_calls(), f"{one}\n{other}")
    assert not takes(loaded, grammars.whole_calls(), f"{one} and {other}")
    assert not takes(loaded, grammars.whole_calls(), f"Here: {one}")
    assert takes(loaded, grammars.whole_calls("now"), other)
    assert not takes(loaded, grammars.whole_calls("now"), one)
    assert not takes(loaded, grammars.whole_calls("now"), f"{other}\n{other}")
    assert grammars.whole_calls("nothing") is None


def test_an_opening_tag_is_the_special_token_where_there_is_one(
    loaded: Loaded, grammars: CallGrammars
) -> None:
    matcher = grammars.whole_calls()
    bits = int.from_bytes(matcher.compute_bitmask(), "little")
    first = loaded.tokens("<tool_call>")[0]
    assert bits >> first & 1
    if loaded.tokenizer.is_special_token(first):
        assert bits.bit_count() == 1


def test_an_answer_schema_holds_the_answer_and_leaves_untagged_calls_possible(
    loaded: Loaded,
) -> None:
    answer = schema({"price": {"type": "number"}, "name": {"type": "string"}})
    call = NO_ARGUMENTS
    good, bad = '{"price": 2.5, "name": "x"}', '{"price": "2.5"}'
    with_tools = CallGrammars([NOW], loaded.tokenizer, answer)
    alone = CallGrammars([], loaded.tokenizer, answer)
    assert with_tools.holds_answers
    assert (with_tools.holds_calls, alone.holds_calls) == (True, False)
    for grammars, may_call in ((with_tools, True), (alone, False)):
        for untagged in (True, False):
            assert takes(loaded, grammars.whole_answer(untagged_calls=untagged), good)
            assert not takes(loaded, grammars.whole_answer(untagged_calls=untagged), bad)
            matcher = grammars.whole_answer(untagged_calls=untagged)
            assert takes(loaded, matcher, call) is (may_call and untagged)
            matcher = grammars.whole_answer(untagged_calls=untagged)
            assert takes(loaded, matcher, f"{call}\n{call}") is (may_call and untagged)
    assert takes(
        loaded, CallGrammars([], loaded.tokenizer, {"type": "integer"}).whole_answer(), "7"
    )
    assert alone.rest_of_tagged() is None
    assert alone.rest_of_untagged(fenced=False, pretty=False) is None


def test_an_answer_schema_that_cannot_be_held_to_is_noted(loaded: Loaded) -> None:
    grammars = CallGrammars([], loaded.tokenizer, {"type": "array", "uniqueItems": True})
    assert not grammars.holds_answers
    (note,) = grammars.notes
    assert note.startswith('the answer cannot be constrained (Unimplemented keys: ["uniqueItems"])')


def test_matchers_of_one_grammar_do_not_share_their_state(
    loaded: Loaded, grammars: CallGrammars
) -> None:
    first = grammars.rest_of_tagged()
    assert takes(loaded, first, f"{CALL}</tool_call>")
    assert takes(loaded, grammars.rest_of_tagged(), f"\n{NO_ARGUMENTS}\n</tool_call>")


@pytest.mark.parametrize("name", ['say "hi"', "back\\slash", "naïve", "two words", "<a>", "a/b.c"])
def test_names_are_written_as_json(loaded: Loaded, name: str) -> None:
    grammars = CallGrammars([tool(name)], loaded.tokenizer)
    text = json.dumps({"name": name, "arguments": {}}, ensure_ascii=False)
    assert takes(loaded, grammars.rest_of_tagged(), f"{text}</tool_call>")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "uniqueItems": ({"type": "array", "uniqueItems": True}, "uniqueItems"),
    "not": ({"not": {"type": "string"}}, "not"),
    "if": ({"if": {"const": 1}, "then": {"const": 1}}, '"if", "then"'),
    "contains": ({"type": "array", "contains": {"const": 1}}, "contains"),
    "propertyNames": ({"type": "object", "propertyNames": {"pattern": "^x"}}, "propertyNames"),
    "overlapping oneOf": ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, "oneOf"),
    "lookahead": ({"type": "string", "pattern": "^(?=a)"}, "look-around"),
    "remote $ref": ({"$ref": "https://example.org/s.json"}, "not present in a registry"),
    "no value": ({"type": "integer", "minimum": 3, "maximum": 2}, "unsatisfiable"),
    "repeated names": ({"type": "object", "minProperties": 2}, "minProperties above 1"),
    "fractions": ({"type": "number", "multipleOf": 0.01}, "multipleOf of a fraction"),
    "digits": ({"const": [1.9689644722228005e-41]}, "more than 15 digits"),
    "long integer": ({"enum": [1, 2**64]}, "more than 15 digits"),
}


@pytest.mark.parametrize("keyword", REFUSED)
def test_a_schema_that_cannot_be_held_to_leaves_any_object_and_a_note(
    loaded: Loaded, keyword: str
) -> None:
    value, reason = REFUSED[keyword]
    tools = [tool("odd", schema({"a": value})), SEARCH]
    grammars = CallGrammars(tools, loaded.tokenizer)
    (note,) = grammars.notes
    assert schema_notes(tools) == (note,)
    assert note.startswith("the arguments of odd cannot be constrained (")
    assert note.endswith("); they are checked after decoding")
    assert reason in note
    assert "\n" not in note
    assert len(note) < 220
    any_object = '{"name": "odd", "arguments": {"b": [1, {"c": null}]}}</tool_call>'
    assert takes(loaded, grammars.rest_of_tagged(), any_object)
    assert not takes(loaded, grammars.rest_of_tagged(), any_object.replace("odd", "search"))


def test_parameters_that_are_no_object_are_noted() -> None:
    (note,) = schema_notes([tool("odd", {"type": "array"})])
    assert "it is no object" in note


ENFORCED: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "enum": ({"enum": ["a", 1]}, ['"a"', "1"], ['"b"', "2"]),
    "const": ({"const": {"x": [1, None]}}, ['{"x": [1, null]}'], ['{"x": []}']),
    "anyOf": ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, ["null", "3"], ['"3"']),
    "oneOf": ({"oneOf": [{"type": "null"}, {"type": "integer"}]}, ["null", "3"], ["1.5"]),
    "bounds": ({"type": "number", "minimum": 0.5, "exclusiveMaximum": 3}, ["0.5"], ["3", "0.4"]),
    "lengths": ({"type": "string", "minLength": 2, "maxLength": 3}, ['"ab"'], ['"a"', '"abcd"']),
    "pattern": ({"type": "string", "pattern": "b+"}, ['"abbc"'], ['"ac"']),
    "items": (
        {"type": "array", "items": {"type": "integer"}, "maxItems": 2},
        ["[1]"],
        ["[1, 2, 3]"],
    ),
    "date": ({"type": "string", "format": "date"}, ['"2026-11-25"'], ['"yesterday"']),
    "additionalProperties": (
        {"type": "object", "additionalProperties": {"type": "integer"}},
        ['{"x": 1}'],
        ['{"x": "1"}'],
    ),
}


@pytest.mark.parametrize("keyword", ENFORCED)
def test_what_is_not_noted_is_enforced(loaded: Loaded, keyword: str) -> None:
    value, good, bad = ENFORCED[keyword]
    for text in good:
        assert takes_arguments(loaded, schema({"a": value}), f'{{"a": {text}}}')
    for text in bad:
        assert not takes_arguments(loaded, schema({"a": value}), f'{{"a": {text}}}')


@pytest.mark.parametrize("word", ["default", "description", "title", "examples", "x-note"])
def test_annotations_do_no_harm(loaded: Loaded, word: str) -> None:
    parameters = schema({"a": {"type": "integer", word: "format"}})
    assert takes_arguments(loaded, parameters, '{"a": 1}')
    # A property may have any of these names.
    named = schema({word: {"type": "integer"}, "format": {"type": "string", "format": "path"}})
    assert takes_arguments(loaded, named, f'{{"{word}": 1, "format": "/tmp"}}')


def test_references_are_followed(loaded: Loaded) -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}
    parameters = schema({"a": {"$ref": "#/$defs/node"}}, **{"$defs": {"node": node}})
    assert takes_arguments(loaded, parameters, '{"a": {"next": {"next": {}}}}')
    assert not takes_arguments(loaded, parameters, '{"a": {"next": 1}}')


def test_a_tool_s_own_options_for_llguidance_count_for_nothing(loaded: Loaded) -> None:
    parameters = schema({"a": {"type": "integer"}}, **{"x-guidance": {"lenient": True}})
    assert not takes_arguments(loaded, parameters, '{"a":1}')
    refused = schema({"a": REFUSED["not"][0]}, **{"x-guidance": {"lenient": True}})
    assert CallGrammars([tool("t", refused)], loaded.tokenizer).notes


def test_properties_that_are_spread_over_subschemas_may_all_be_given(loaded: Loaded) -> None:
    base, more = schema({"a": {"type": "integer"}}), schema({"b": {"type": "integer"}})
    spread: list[dict[str, Any]] = [
        {"type": "object", "allOf": [base, more]},
        {**base, "anyOf": [more, schema({"c": {}})]},
        {"type": "object", "allOf": [{"$ref": "#/$defs/base"}, more], "$defs": {"base": base}},
        {**more, "$ref": "#/$defs/base", "$defs": {"base": base}},
    ]
    for parameters in spread:
        texts = ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}')
        assert any(takes_arguments(loaded, parameters, text) for text in texts), parameters


def test_objects_that_list_their_properties_are_closed_unless_they_say_otherwise() -> None:
    inner = schema({"a": {"type": "integer"}})
    assert tightened(inner)["additionalProperties"] is False
    assert tightened({**inner, "additionalProperties": True})["additionalProperties"] is True
    assert "additionalProperties" not in tightened({"type": "object"})
    union = tightened({"anyOf": [inner, inner]})
    assert [option["additionalProperties"] for option in union["anyOf"]] == [False, False]
    assert inner == schema({"a": {"type": "integer"}})


def test_a_schema_with_half_a_character_is_left_to_the_check_behind() -> None:
    schema = {"type": "object", "properties": {"a": {"enum": ["\ud800"]}}}
    (note,) = schema_notes([tool("odd", schema)])
    assert "half a character" in note


def test_a_list_of_calls_is_written_in_one_way(loaded: Loaded, grammars: CallGrammars) -> None:
    one, other = CALL, NO_ARGUMENTS
    between, end = DRAFTS["listed"].separator, DRAFTS["listed"].end
    for calls in ([one], [other, one], [one, one, other]):
        assert takes(loaded, grammars.drafted_calls("listed"), f"{between.join(calls)}{end}")
    wrong = [
        end,
        one,
        f"{one}, {other}{end}",
        f"{one}{between}{end}",
        f"{one}{end}\n```",
        f"[{one}{end}",
        f"{one.replace('search', 'find')}{end}",
        f"{one.replace('gpu', 'cpu')}{end}",
        f"{one.replace(': {', ':{')}{end}",
    ]
    for text in wrong:
        assert not takes(loaded, grammars.drafted_calls("listed"), text), text
    assert CallGrammars([], loaded.tokenizer).drafted_calls("listed") is None
