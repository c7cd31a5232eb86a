"""Calls as Python: what is written is read again, and nothing that is read raises."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ling_agent.hermes.python_calls import (
    constants,
    is_keyword_name,
    keywords,
    may_be_empty,
    read_calls,
    write_call,
)

NAMES = ("get_weather", "add-all", "f", "f2", "9lives")

texts = st.text(st.characters(codec="utf-8"), max_size=12)
values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
# Names as tools have them, words of Python, letters that only Python takes, and rubbish.
keys = st.sampled_from(["city", "days", "class", "None", "True", "naïve", "日", "_", "a·", "℘"])
arguments = st.dictionaries(keys, values, max_size=4) | st.dictionaries(texts, values, max_size=4)
calls = st.lists(st.tuples(st.sampled_from(NAMES), arguments), max_size=4)


def read(text: str) -> list[dict[str, Any]]:
    return list(read_calls(text, NAMES))


def as_calls(written: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    return [{"name": name, "arguments": given} for name, given in written]


# -- there and back -------------------------------------------------------------------------------


def test_a_call_reads_like_a_line_of_a_program() -> None:
    given: dict[str, Any] = {"city": "Łódź", "days": 3, "now": True, "at": None, "in": [None, 1.5]}
    assert write_call("f", given) == (
        'f(**{"city": "Łódź", "days": 3, "now": true, "at": null, "in": [null, 1.5]})'
    )
    del given["in"]
    assert write_call("f", given) == 'f(city="Łódź", days=3, now=True, at=None)'
    assert write_call("f", {}) == "f()"


@given(calls, st.sampled_from(["\n", "\n# then\n", " ", "\n\n  "]), st.sampled_from(["", "\n```"]))
def test_what_is_written_is_read_again(
    written: list[tuple[str, dict[str, Any]]], between: str, end: str
) -> None:
    text = between.join(write_call(*call) for call in written) + end
    assert read(text) == as_calls(written)


@given(st.sampled_from(["f", "get_weather"]), arguments)
def test_what_is_written_is_one_line_of_python(name: str, given: dict[str, Any]) -> None:
    line = write_call(name, given)
    assert "\n" not in line
    tree = ast.parse(line, mode="eval").body
    assert isinstance(tree, ast.Call)
    assert isinstance(tree.func, ast.Name)
    assert (tree.func.id, tree.args) == (name, [])
    assert len(tree.keywords) == (len(given) if all(map(is_keyword_name, given)) else 1)


@given(calls, st.data())
def test_of_what_is_cut_off_the_complete_calls_are_read(
    written: list[tuple[str, dict[str, Any]]], data: st.DataObject
) -> None:
    lines = [write_call(*call) for call in written]
    text = "\n".join(lines)
    cut = data.draw(st.integers(0, len(text)))
    ends = [len("\n".join(lines[: count + 1])) for count in range(len(lines))]
    complete = sum(end <= cut for end in ends)
    assert read(text[:cut]) == as_calls(written[:complete])


# -- what models write ----------------------------------------------------------------------------


READ: list[tuple[str, list[dict[str, Any]]]] = [
    ('f(a = "x")', []),
    ('f( a="x" ,\n  b=2 )', [{"a": "x", "b": 2}]),
    ('f(a="x",b=2)f()', [{"a": "x", "b": 2}, {}]),
    ("f(a=true, b=null)", [{"a": True, "b": None}]),
    ("f(a=[true, null])", [{"a": [True, None]}]),
    ('f(**{"a": 1}, b=2)', [{"a": 1, "b": 2}]),
    ('f(**{}, **{"b-c": 2})', [{"b-c": 2}]),
    ("# f(a=1)\n\n  # more\nf()", [{}]),
    ('f(a="# no comment")', [{"a": "# no comment"}]),
    ('f(a="b) f()")', [{"a": "b) f()"}]),
    ("f()\n```\nf()", [{}]),
    ("f()\nThen:\nf()", [{}]),
    ("f()\nother()\nf()", [{}]),
    ("f()  # done", [{}]),
    ("# only\n", []),
    ("# f()", []),
    ("", []),
]


@pytest.mark.parametrize(("text", "expected"), READ)
def test_calls_are_read_up_to_what_is_none(text: str, expected: list[dict[str, Any]]) -> None:
    assert read(text) == [{"name": "f", "arguments": given} for given in expected]


@pytest.mark.parametrize(
    "text",
    [
        *("f", "f(", "f(a", "f(a=", "f(a=1", "f(a=1,", "f(**", "f(**{", "f)", "(a=1)", "f[a=1]"),
        *("f(1)", 'f("x")', "f(a=1,)", "f(,)", "f(, a=1)", "f(a=1 b=2)", "f(a=1,, b=2)"),
        *("f(**1)", "f(**[])", 'f(*["a"])', "f(**{} a=1)", "f(**None)", 'f({"a": 1})'),
        *("f(a='x')", "f(a=x)", "f(a=[True])", "f(a=(1, 2))", "f(a=1+1)", "f(a=f())", 'f(a="\n")'),
        *("f(a=Trueish)", "f(a=TRUE)", "f(a=1_000)", "f(a=0x1)", "f(a=.5)", "f(a-b=1)", "f(2a=1)"),
        *("f(a=NaN)", "f(a=Infinity)", "f(a=-Infinity)", "f(a=1e999)", "f(a=[1, NaN])"),
        *('f(a="\\ud800")', 'f(a="\ud800")', 'f(**{"\\udfff": 1})', 'f(a={"b": ["\\ud83d"]})'),
        *("g()", "x = f()", "print(f())", "F()", "f.f()", '"""', "\\", "def f():"),
    ],
)
def test_what_is_no_call_is_not_read(text: str) -> None:
    assert read(text) == []
    assert read(f"f2()\n{text}") == [{"name": "f2", "arguments": {}}]


@pytest.mark.parametrize(
    "value", ["[" * 100_000, '{"a":' * 100_000, "9" * 5_000, "-" + "1" * 9_999]
)
def test_what_is_too_deep_or_too_long_is_not_read(value: str) -> None:
    closed = value + "]" * value.count("[") + "1" * value.count(":") + "}" * value.count("{")
    for text in (f"f(a={value}", f"f(a={closed})", f'f(**{{"a": {closed}}})'):
        assert read(text) == []


def test_a_pair_of_surrogates_is_a_character() -> None:
    assert read('f(a="\\ud83d\\ude42")') == [{"name": "f", "arguments": {"a": "🙂"}}]


FRAGMENTS = (
    *("f", "f2", "get_weather", "add-all", "(", ")", ",", ", ", "=", "**", "{", "}", "[", "]"),
    *('"', '"a"', "'a'", "a=", "city=", "b", "1", "-", "1e9", ".", "True", "None", "null", "NaN"),
    *("#", "# x\n", "\n", "\r", "\t", " ", "\\", "\\u", "\\ud800", "\ud800", "\0", "```", "f()"),
    *('{"a": 1}', '"a": 1', "f(a=1)", 'f(**{"a-b": [1]})', "é", "🙂", "\u2028"),
)
rubbish = st.text() | st.lists(
    st.sampled_from(FRAGMENTS) | st.text(st.characters(), max_size=3), max_size=14
).map("".join)


@given(rubbish)
def test_nothing_raises_and_what_is_read_can_be_written(text: str) -> None:
    for call in read(text):
        assert call["name"] in NAMES
        json.dumps(call, allow_nan=False, ensure_ascii=False).encode()
        assert read(write_call(call["name"], call["arguments"])) == [call]


@given(rubbish, rubbish)
def test_what_comes_later_leaves_the_calls_before_it(text: str, more: str) -> None:
    first = read(text)
    assert read(text + more)[: len(first)] == first


# -- schemas --------------------------------------------------------------------------------------

NUMBER = {"type": "integer"}


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": NUMBER, "_b2": {}, "naïve": NUMBER}, "required": ["a"]},
        {"properties": {"a": NUMBER}, "additionalProperties": False, "title": "A", "$id": "x"},
        {"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": NUMBER}, "required": None},
        {"properties": {"a": {"$ref": "#/definitions/b"}}, "definitions": {"b": NUMBER}},
        {"properties": {"a": {"const": {"$ref": 1}}}, "description": "What it does."},
        {"properties": {}},
    ],
)
def test_arguments_are_keywords_where_each_has_a_schema(schema: dict[str, Any]) -> None:
    assert keywords({"type": "object", **schema}) == schema["properties"]


def test_a_closed_object_without_properties_has_no_keywords() -> None:
    assert keywords({"type": "object", "additionalProperties": False}) == {}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"properties": {"a": NUMBER}, "additionalProperties": True},
        {"properties": {"a": NUMBER}, "additionalProperties": NUMBER},
        {"additionalProperties": NUMBER},
        {"properties": {"a": NUMBER}, "required": ["b"]},
        {"properties": {"a": NUMBER}, "minProperties": 1},
        {"properties": {"a": NUMBER}, "anyOf": [{"required": ["a"]}]},
        {"properties": {"a": True}},
        {"properties": {"a": NUMBER, "b": {"$ref": "#/properties/a"}}},
        {"properties": {"a": {"$ref": "#"}}},
        {"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"$ref": "other.json"}}},
        {"properties": {"a-b": NUMBER}},
        {"properties": {"": NUMBER}},
        {"properties": {"lambda": NUMBER}},
        {"properties": {"a b": NUMBER}},
        {"properties": [NUMBER]},
    ],
)
def test_otherwise_they_are_a_mapping(schema: dict[str, Any]) -> None:
    assert keywords({"type": "object", **schema}) is None


def test_a_call_may_be_empty_where_nothing_is_required() -> None:
    assert may_be_empty({"type": "object"})
    assert may_be_empty({"type": "object", "required": [], "minProperties": 0})
    assert not may_be_empty({"type": "object", "required": ["a"]})
    assert not may_be_empty({"type": "object", "minProperties": 1})


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "boolean"}, ("True", "False")),
        ({"type": "null"}, ("None",)),
        ({"type": ["string", "null", "boolean"]}, ("True", "False", "None")),
        ({"type": "string"}, ()),
        ({"type": "boolean", "const": False}, ("False",)),
        ({"enum": [1, 0, "True", None]}, ("None",)),
        ({"anyOf": [{"type": "null"}, {"oneOf": [{"const": True}, NUMBER]}]}, ("True", "None")),
        ({"anyOf": [True, {"type": "null"}]}, ("None",)),
        ({"type": "boolean", "not": {"const": True}}, ()),
        ({"allOf": [{"type": "boolean"}]}, ()),
        ({}, ()),
    ],
)
def test_constants_of_python_are_those_that_fit(
    schema: dict[str, Any], words: tuple[str, ...]
) -> None:
    assert constants(schema) == words
