"""The structural tag: its form, which vLLM and SGLang hand to xgrammar."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ling_agent.hermes import parse
from ling_agent.hermes.grammar import arguments_tag, structural_tag

from .support import TIME, TOOLS, WEATHER, Tool

FORMS = (("<tool_call>\n", "\n</tool_call>"), ("<tool_call>", "</tool_call>"))


def test_both_forms_of_each_call_are_listed_with_the_tools_schema() -> None:
    form = structural_tag([WEATHER])["format"]
    assert form["type"] == "triggered_tags"
    assert form["triggers"] == ["<tool_call>"]
    assert form["tags"] == [
        {
            "type": "tag",
            "begin": f'{opening}{{"name": "get_weather", "arguments": ',
            "content": {
                "type": "json_schema",
                "json_schema": WEATHER["function"]["parameters"],
            },
            "end": f"}}{closing}",
        }
        for opening, closing in FORMS
    ]


def test_text_is_free_before_and_behind_calls_unless_one_is_a_must() -> None:
    form = structural_tag(TOOLS)["format"]
    assert (form["at_least_one"], form["stop_after_first"]) == (False, False)
    form = structural_tag(TOOLS, at_least_one=True)["format"]
    assert (form["at_least_one"], form["stop_after_first"]) == (True, False)


@pytest.mark.parametrize("only", [None, *(tool["function"]["name"] for tool in TOOLS)])
def test_only_one_tool_may_be_called(only: str | None) -> None:
    tags = structural_tag(TOOLS, only=only)["format"]["tags"]
    named = {tag["begin"].split('"')[3] for tag in tags}
    assert named == ({only} if only else {tool["function"]["name"] for tool in TOOLS})


def test_a_tool_without_a_schema_takes_any_object() -> None:
    bare: Tool = {"type": "function", "function": {"name": "now"}}
    (first, _) = structural_tag([bare])["format"]["tags"]
    assert first["content"]["json_schema"] == {"type": "object"}


@given(st.permutations(TOOLS), st.booleans())
def test_it_is_deterministic_and_json(tools: list[Tool], must: bool) -> None:
    first = json.dumps(structural_tag(tools, at_least_one=must))
    assert json.dumps(structural_tag(iter(tools), at_least_one=must)) == first
    assert json.loads(first) == structural_tag(tools, at_least_one=must)


@given(
    st.from_regex(r"[^\W\d][\w.-]{0,9}", fullmatch=True),
    st.dictionaries(st.text(max_size=5), st.integers()),
)
def test_what_it_allows_is_a_call(name: str, arguments: dict[str, Any]) -> None:
    function: dict[str, Any] = {"name": name, "parameters": {"type": "object"}}
    tool: Tool = {"type": "function", "function": function}
    for tag in structural_tag([tool])["format"]["tags"]:
        assert tag["begin"].startswith("<tool_call>"), "the trigger is how each tag begins"
        text = tag["begin"] + json.dumps(arguments) + tag["end"]
        (call,) = parse(text, tools=[tool]).calls
        assert (call.name, call.arguments, call.repairs) == (name, arguments, ())


def test_calls_joined_by_a_line_break_are_all_read() -> None:
    tags = structural_tag([WEATHER, TIME])["format"]["tags"]
    text = "\n".join(f"{tag['begin']}{{}}{tag['end']}" for tag in tags)
    assert len(parse(text).calls) == 4


def test_the_rest_of_a_begun_call_is_its_arguments_and_its_end() -> None:
    schema = WEATHER["function"]["parameters"]
    arguments = {"type": "json_schema", "json_schema": schema, "max_whitespace_cnt": 1}
    end = {"type": "const_string", "value": "}\n</tool_call>"}
    tag = arguments_tag(schema)
    assert tag == {
        "type": "structural_tag",
        "format": {"type": "sequence", "elements": [arguments, end]},
    }
    behind = structural_tag(TOOLS)["format"]
    assert arguments_tag(schema, iter(TOOLS))["format"]["elements"] == [arguments, end, behind]
