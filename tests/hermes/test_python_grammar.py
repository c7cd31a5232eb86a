"""The structural tag for calls as Python: its form, which vLLM and SGLang hand to xgrammar.

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

from ling_agent.hermes.python_calls import read_calls, write_call
from ling_agent.hermes.python_grammar import python_tag

from .support import TIME, TOOLS, WEATHER, WRITE, Tool, tool

NUMBER = {"type": "integer"}
HELD_NUMBER = {"type": "json_schema", "json_schema": NUMBER, "max_whitespace_cnt": 1}
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
        assert kind == "json_schema"
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
