"""The structural tags for drafted calls: their form, which vLLM and SGLang hand to xgrammar.

Whether xgrammar takes it, and holds a model to it, is tested on real servers (tests/servers).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ling_agent.hermes.draft_grammar import TEXT, list_tag, python_tag
from ling_agent.hermes.python_calls import read_calls, write_call

from .support import TIME, TOOLS, WEATHER, WRITE, Tool, tool

NUMBER = {"type": "integer"}
HELD_NUMBER = {"type": "json_schema", "json_schema": NUMBER, "max_whitespace_cnt": 1}
TEXT_FORM = {"type": "regex", "pattern": TEXT}
TRUTH = {
    "type": "or",
    "elements": [{"type": "const_string", "value": word} for word in ("True", "False")],
}


def form_of(*tools: Tool, commented: bool = False) -> dict[str, Any]:
    tag = python_tag(tools, separator="\n", end="\n```", commented=commented)
    assert list(tag) == ["type", "format"]
    assert tag["type"] == "structural_tag"
    return tag["format"]


def call_of(one: Tool) -> dict[str, Any]:
    """The form of one call of the only tool."""
    return form_of(one)["elements"][0]


def listed(*tools: Tool) -> dict[str, Any]:
    tag = list_tag(tools, separator=",\n", end="\n]")
    assert list(tag) == ["type", "format"]
    assert tag["type"] == "structural_tag"
    return tag["format"]


def value_of(schema: dict[str, Any]) -> dict[str, Any]:
    """The form of the one argument of a call as Python."""
    _, arguments, _ = call_of(tool("f", {"a": schema}, "a"))["elements"]
    return arguments["elements"][1]


def texts_of(form: dict[str, Any]) -> list[str]:
    """All texts of a form, with ``…`` for values: forms without repetition have a few."""
    return list(_texts(form))


def _texts(form: dict[str, Any]) -> Iterator[str]:
    kind = form["type"]
    if kind == "const_string":
        yield form["value"]
    elif kind == "or":
        for element in form["elements"]:
            yield from _texts(element)
    elif kind == "optional":
        yield ""
        yield from _texts(form["content"])
    elif kind == "sequence":
        texts = [""]
        for element in form["elements"]:
            texts = [text + more for text in texts for more in _texts(element)]
        yield from texts
    else:
        assert kind == "json_schema" or form == TEXT_FORM
        yield "…"


def test_calls_are_joined_and_ended() -> None:
    first, more, end = form_of(WEATHER, TIME)["elements"]
    assert first["type"] == "or"
    assert first["elements"] == [call_of(WEATHER), call_of(TIME)]
    separator = {"type": "const_string", "value": "\n"}
    joined = {"type": "sequence", "elements": [separator, first]}
    assert more == {"type": "star", "content": joined}
    assert end == {"type": "const_string", "value": "\n```"}


def test_a_comment_stands_before_each_call() -> None:
    first, more, _ = form_of(WEATHER, commented=True)["elements"]
    comment, call = first["elements"]
    assert call == call_of(WEATHER)
    assert more["content"]["elements"][1] == first
    assert comment["type"] == "regex"
    assert re.fullmatch(comment["pattern"], "# the weather: get_weather()\n")
    for wrong in ("# \n", "#x\n", "# x", "# x\n# y\n", "# " + 101 * "x" + "\n", "\n"):
        assert not re.fullmatch(comment["pattern"], wrong)


def test_a_call_is_its_name_and_its_arguments() -> None:
    texts = ["get_weather(city=…)", "get_weather(city=…, days=…)"]
    assert sorted(texts_of(call_of(WEATHER))) == texts
    assert texts_of(call_of(WRITE)) == ["write_file(path=…, content=…)"]
    assert texts_of(call_of(TIME)) == ["get_time()"]


def test_a_tool_without_a_schema_is_called_without_arguments() -> None:
    assert texts_of(call_of({"type": "function", "function": {"name": "now"}})) == ["now()"]


def test_what_has_a_default_is_left_out_in_any_combination() -> None:
    texts = texts_of(call_of(tool("f", dict.fromkeys("abc", NUMBER))))
    assert len(texts) == len(set(texts)) == 8
    assert {"f()", "f(b=…)", "f(a=…, c=…)", "f(a=…, b=…, c=…)"} < set(texts)
    texts = texts_of(call_of(tool("f", dict.fromkeys("abcd", NUMBER), "b", "d")))
    assert sorted(texts) == [
        *("f(a=…, b=…, c=…, d=…)", "f(a=…, b=…, d=…)", "f(b=…, c=…, d=…)", "f(b=…, d=…)"),
    ]


def test_values_are_json_but_for_what_python_names_otherwise() -> None:
    optional = {"anyOf": [NUMBER, {"type": "null"}]}
    one = tool("f", {"a": NUMBER, "b": {"type": "boolean"}, "c": optional}, "a", "b", "c")
    _, arguments, _ = call_of(one)["elements"]
    _, number, (_, truth), (_, maybe) = [
        each["elements"] if each["type"] == "sequence" else each for each in arguments["elements"]
    ]
    assert (number, truth) == (HELD_NUMBER, TRUTH)
    none, rest = maybe["elements"]
    assert none == {"type": "const_string", "value": "None"}
    assert rest == {**HELD_NUMBER, "json_schema": optional}


PLAIN = {"type": "string", "description": "A city."}
CHOICE = {"type": "string", "enum": ["a", "b"]}


@pytest.mark.parametrize(
    ("schema", "rest"),
    [
        (PLAIN, None),
        ({"type": ["string"]}, None),
        ({"type": ["string", "integer"]}, {"type": ["integer"]}),
        ({"anyOf": [PLAIN, {"type": "string"}]}, None),
        ({"anyOf": [PLAIN, NUMBER], "default": 1}, {"anyOf": [NUMBER], "default": 1}),
        ({"anyOf": [PLAIN, CHOICE]}, {"anyOf": [CHOICE]}),
    ],
)
def test_any_text_is_an_expression_that_looks_at_nothing_behind_it(
    schema: dict[str, Any], rest: dict[str, Any] | None
) -> None:
    """For which the rule of xgrammar for JSON refuses the token of a quote and a parenthesis."""
    more = [] if rest is None else [{**HELD_NUMBER, "json_schema": rest}]
    assert value_of(schema) == (
        {"type": "or", "elements": [TEXT_FORM, *more]} if more else TEXT_FORM
    )


@pytest.mark.parametrize(
    "schema",
    [
        *(CHOICE, {"type": "string", "minLength": 1}, {"type": "string", "pattern": "^a"}),
        *({"type": "string", "format": "date"}, {"anyOf": [CHOICE, NUMBER]}, {"type": ["integer"]}),
        *({"type": "array", "items": PLAIN}, {}, {"type": "string", "anyOf": [CHOICE]}),
    ],
)
def test_other_values_are_held_to_their_schema(schema: dict[str, Any]) -> None:
    assert value_of(schema) == {**HELD_NUMBER, "json_schema": schema}


@given(st.text())
def test_the_expression_is_that_of_a_text_in_json(text: str) -> None:
    for written in (json.dumps(text), json.dumps(text, ensure_ascii=False)):
        assert re.fullmatch(TEXT, written)
        assert not re.fullmatch(TEXT, written[:-1]), "ends where the text does"


@pytest.mark.parametrize("text", ['"\n"', '"\\x41"', '"\\u00g0"', '"""', '"', "'a'", '"a" '])
def test_what_json_refuses_is_refused(text: str) -> None:
    assert not re.fullmatch(TEXT, text)


def test_shared_definitions_go_with_each_value() -> None:
    one = tool("f", {"a": {"$ref": "#/$defs/b"}}, "a")
    one["function"]["parameters"]["$defs"] = {"b": NUMBER}
    _, arguments, _ = call_of(one)["elements"]
    schema = arguments["elements"][1]["json_schema"]
    assert schema == {"$ref": "#/$defs/b", "$defs": {"b": NUMBER}}


@pytest.mark.parametrize(
    ("parameters", "empty"),
    [
        ({"type": "object"}, True),
        ({"type": "object", "properties": {"a-b": NUMBER}}, True),
        ({"type": "object", "properties": {"a-b": NUMBER}, "required": ["a-b"]}, False),
        ({"type": "object", "properties": {"a": NUMBER}, "minProperties": 1}, False),
        ({"type": "object", "properties": dict.fromkeys("abcdefghi", NUMBER)}, True),
        (
            {"type": "object", "properties": dict.fromkeys("abcdefghi", NUMBER), "required": ["i"]},
            False,
        ),
    ],
)
def test_other_arguments_are_one_mapping(parameters: dict[str, Any], empty: bool) -> None:
    one: Tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    assert texts_of(call_of(one)) == [*(["f()"] if empty else []), "f(**…)"]
    assert json.dumps(parameters) in json.dumps(call_of(one)), "held to the tool's own schema"


def test_many_defaults_behind_what_is_required_are_keywords() -> None:
    texts = texts_of(call_of(tool("f", dict.fromkeys("abcdefghij", NUMBER), "a")))
    assert len(set(texts)) == 2**9


@given(st.permutations(TOOLS), st.booleans())
def test_it_is_deterministic_and_json(tools: list[Tool], commented: bool) -> None:
    first = json.dumps(form_of(*tools, commented=commented))
    assert json.dumps(form_of(*tools, commented=commented)) == first
    assert json.loads(first) == form_of(*tools, commented=commented)


_names = st.from_regex(r"[a-z_][a-z0-9_-]{0,5}", fullmatch=True)


@given(_names, st.dictionaries(_names, st.booleans(), max_size=5))
def test_what_it_allows_is_read_as_a_call(name: str, properties: dict[str, bool]) -> None:
    """Each property is required or not."""
    required = [key for key, must in properties.items() if must]
    one = tool(name, dict.fromkeys(properties, NUMBER), *required)
    mapping = json.dumps(dict.fromkeys(required, 1))
    for text in texts_of(call_of(one)):
        filled = text.replace("**…", f"**{mapping}").replace("…", "1")
        (call,) = read_calls(filled, [name])
        assert set(required) <= call["arguments"].keys() <= properties.keys()
        if "**" not in filled:
            assert write_call(name, call["arguments"]) == filled


def test_a_list_holds_calls_on_one_line_and_ends() -> None:
    first, more, end = listed(WEATHER, TIME)["elements"]
    weather, time = first["elements"]
    assert weather == listed(WEATHER)["elements"][0]
    assert texts_of(weather) == [
        '{"name": "get_weather", "arguments": {"city": …}}',
        '{"name": "get_weather", "arguments": {"city": …, "days": …}}',
    ]
    assert texts_of(time) == ['{"name": "get_time", "arguments": {}}']
    separator = {"type": "const_string", "value": ",\n"}
    assert more == {"type": "star", "content": {"type": "sequence", "elements": [separator, first]}}
    assert end == {"type": "const_string", "value": "\n]"}


def test_arguments_of_a_list_that_are_no_keywords_are_held_to_their_schema() -> None:
    odd = tool("f", {"a-b": NUMBER})
    assert texts_of(listed(odd)["elements"][0]) == [
        *('{"name": "f", "arguments": {}}', '{"name": "f", "arguments": …}'),
    ]


@given(_names, st.dictionaries(_names, st.booleans(), max_size=5))
def test_what_a_list_allows_are_calls(name: str, properties: dict[str, bool]) -> None:
    """Each property is required or not."""
    required = [key for key, must in properties.items() if must]
    form = listed(tool(name, dict.fromkeys(properties, NUMBER), *required))["elements"][0]
    for text in texts_of(form):
        call = json.loads(text.replace('"arguments": …', '"arguments": {}').replace("…", "1"))
        assert call["name"] == name
        assert call["arguments"].keys() <= properties.keys()
        if '"arguments": …' not in text:
            assert set(required) <= call["arguments"].keys()
            assert json.dumps(call) == text.replace("…", "1")
