"""Calls in other clothes: XML dialects, bare JSON, lost or renamed tags, code fences."""

from __future__ import annotations

import pytest

from ling_agent.hermes import HermesParser, TextDelta

from .support import CALL, OSLO, TIME_CALL, TOOLS, kinds_of, parse_all, tool

QWEN = "<tool_call>\n<function={}>\n{}</function>\n</tool_call>"
TYPES = tool(
    "set",
    {
        "text": {"type": "string"},
        "n": {"type": "integer"},
        "list": {"type": "array"},
        "maybe": {"type": ["string", "null"]},
        "any": {},
        "object": {"type": "object"},
        "few": {"type": "integer", "maximum": 9},
    },
)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("text", "12", "12"),
        ("text", "{not json", "{not json"),
        ("n", "12", 12),
        ("n", "twelve", "twelve"),
        ("list", "[1, 2]", [1, 2]),
        ("list", "['a', None]", ["a", None]),
        ("maybe", "null", None),
        ("maybe", "nothing", "nothing"),
        ("list", r"['\d']", ["\\d"]),
        ("list", "[1if 0else 2]", "[1if 0else 2]"),
        ("list", "[1e999]", "[1e999]"),
        ("list", "[(1, 2)]", "[(1, 2)]"),
        ("object", "(1, 2)", "(1, 2)"),
        ("object", "{1: 2}", "{1: 2}"),
        ("object", "{'a': True}", {"a": True}),
        ("maybe", '"quoted"', '"quoted"'),
        ("few", "10", "10"),
        ("any", "true", True),
        ("any", '{"a": [1]}', {"a": [1]}),
        ("any", "plain", "plain"),
        ("undeclared", "3", 3),
        ("undeclared", "['a']", "['a']"),
    ],
)
def test_xml_values_are_typed_by_the_schema(key: str, value: str, expected: object) -> None:
    qwen = QWEN.format("set", f"<parameter={key}>\n{value}\n</parameter>\n")
    ling = f"<tool_call>set\n<arg_key>{key}</arg_key>\n<arg_value>{value}</arg_value>\n</tool_call>"
    for text in (qwen, ling):
        message = parse_all(text, tools=[TYPES])
        assert message.calls[0].arguments == {key: expected}
        assert message.content == ""


def test_xml_values_keep_their_inner_tags_and_lines() -> None:
    value = 'def f():\n    return "</tool_call>" if a < b else "</function>"\n'
    text = QWEN.format("write_file", f"<parameter=content>\n{value}\n</parameter>\n")
    assert parse_all(text, tools=TOOLS).calls[0].arguments == {"content": value}


def test_xml_calls_without_arguments_or_without_their_opener() -> None:
    for text in (QWEN.format("get_time", ""), "<tool_call>get_time</tool_call>"):
        assert parse_all(text, tools=TOOLS).calls[0].arguments == {}
    text = "<function=get_time>\n</function>\n</tool_call>"
    assert parse_all(text, tools=TOOLS).calls[0].repairs == ("missing_open_tag",)
    assert parse_all(text).content  # not a declared name: text
    assert kinds_of(QWEN.format("get_tme", ""), tools=TOOLS) == ["unknown_tool"]


def test_an_unclosed_xml_value_is_not_run() -> None:
    bad = "<tool_call><function=write_file><parameter=path>a</function></tool_call>"
    good = QWEN.format("write_file", "<parameter=path>b</parameter>\n")
    message = parse_all(f"{bad}\n{good}", tools=TOOLS)
    assert (message.calls, message.content) == ([], "")
    assert [error.kind for error in message.errors] == ["invalid_json"]


BARE: list[tuple[str, list[str]]] = [
    (OSLO, ["Oslo"]),
    (f"\n{OSLO}\n\n{OSLO.replace('Oslo', 'Rome')}\n", ["Oslo", "Rome"]),
    (f"```json\n{OSLO}\n```", ["Oslo"]),
    (f"```\n{OSLO}\n{OSLO}\n```\n", ["Oslo", "Oslo"]),
    (f"[{OSLO}, {OSLO}]", ["Oslo", "Oslo"]),
    ('{"name": "get_weather", "parameters": {"city": "Oslo"}}', ["Oslo"]),
    ('{"arguments": {"city": "Oslo"}, "name": "get_weather"}<|im_end|>', ["Oslo"]),
    (f"<think>\nhm\n</think>\n\n{OSLO}", ["Oslo"]),
]


@pytest.mark.parametrize(("text", "cities"), BARE)
def test_bare_json(text: str, cities: list[str]) -> None:
    message = parse_all(text, tools=TOOLS, bare_json=True)
    assert [call.arguments["city"] for call in message.calls] == cities
    assert all("bare_json" in call.repairs for call in message.calls)
    assert message.content == ""
    assert not parse_all(text, tools=TOOLS).calls
    assert not parse_all(text, tools=None, bare_json=True).calls
    assert not parse_all(text, tools=[], bare_json=True).calls


@pytest.mark.parametrize(
    "text",
    [
        f"Here: {OSLO}",
        f"{OSLO}\nDone.",
        f"```json\n{OSLO}\n```\nThat is the call.",
        '{"name": "Alice", "age": 30}',
        '{"name": "get_weather", "description": "the weather"}',
        '{"name": "get_weather"}',
        '{"name": "say_hello", "arguments": {}}',
        '["get_weather"]',
        "[1, 2]",
        "{}",
        "{not json",
        '{"name": "Al',
        "```",
        "``",
        "```json\n",
    ],
)
def test_bare_json_that_is_text(text: str) -> None:
    message = parse_all(text, tools=TOOLS, bare_json=True)
    assert (message.content, message.calls, message.errors) == (text, [], [])


def test_bare_json_is_held_no_longer_than_needed() -> None:
    parser = HermesParser(TOOLS, bare_json=True)
    assert parser.feed('{"name": "Ali') == []
    assert parser.feed('ce"') == [TextDelta('{"name": "Alice"')]
    parser = HermesParser(TOOLS, bare_json=True)
    assert parser.feed('{"temp"') == [TextDelta('{"temp"')]
    parser = HermesParser(TOOLS, bare_json=True)
    assert parser.feed("Hello") == [TextDelta("Hello")]


def test_bare_json_that_fails_as_a_call() -> None:
    text = '{"name": "get_weather", "arguments": {"city": "Os'
    assert kinds_of(text, tools=TOOLS, bare_json=True) == ["incomplete_tool_call"]
    text = '{"name": "get_weather", "arguments": [1]}'
    assert kinds_of(text, tools=TOOLS, bare_json=True) == ["arguments_not_object"]


def test_a_lost_opening_tag() -> None:
    message = parse_all(f"{OSLO}\n</tool_call>\n{TIME_CALL}", tools=TOOLS)
    assert [call.repairs for call in message.calls] == [("missing_open_tag",), ()]
    assert parse_all(f"{OSLO}\n</tool_call>").content.startswith("{")  # no tools: text


@pytest.mark.parametrize("separator", ["\n", "", ", ", "\\n"])
def test_several_objects_in_one_tag(separator: str) -> None:
    time_call = TIME_CALL.splitlines()[1]
    message = parse_all(f"<tool_call>\n{OSLO}{separator}{time_call}\n</tool_call>", tools=TOOLS)
    assert [(call.index, call.name) for call in message.calls] == [
        (0, "get_weather"),
        (1, "get_time"),
    ]
    assert (message.content, message.errors) == ("", [])


def test_tools_tags() -> None:
    message = parse_all(f"Ok.\n<tools>\n{OSLO}\n</tools>", tools=TOOLS)
    assert message.calls[0].repairs == ("alias_tag",)
    assert message.content == "Ok."
    cut = parse_all(f"<tools>\n{OSLO}", tools=TOOLS)
    assert cut.calls[0].repairs == ("alias_tag", "missing_end_tag")
    text = "<tools>\n{}\n</tools>"
    assert parse_all(text, tools=TOOLS).content == text


def test_a_fence_around_a_call_is_dropped_with_it() -> None:
    for text in (f"```xml\n{CALL}\n```", f"```\n{CALL}\n{TIME_CALL}\n```\n"):
        message = parse_all(text, tools=TOOLS)
        assert message.calls
        assert message.content == ""
    for closing in ("\n```", ""):
        message = parse_all(f"```xml\n{CALL}{closing}\nDone.", tools=TOOLS)
        assert message.content == "Done."
