"""The repair ladder: each step by name, and the neighbours of each case that must stay errors."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ling_agent.hermes.schema import accepts

from .support import TOOLS, Tool, parse_all, tool

TYPED = tool(
    "typed",
    {
        "n": {"type": "integer"},
        "x": {"type": "number"},
        "on": {"type": "boolean"},
        "list": {"type": "array", "items": {"type": "integer"}},
        "map": {"$ref": "#/$defs/Map"},
        "none": {"type": "null"},
        "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        "unit": {"enum": ["c", "f"]},
        "few": {"type": "integer", "maximum": 9},
        "pair": {
            "type": "array",
            "prefixItems": [{"type": "string"}, {"type": "integer"}],
            "minItems": 2,
            "maxItems": 2,
        },
    },
)
TYPED["function"]["parameters"]["$defs"] = {"Map": {"type": "object"}}
ALL: list[Tool] = [*TOOLS, TYPED, tool("search", {"q": {"type": "string"}})]


def block(body: str) -> str:
    return f"<tool_call>\n{body}\n</tool_call>"


def weather(arguments: str) -> str:
    return block(f'{{"name": "get_weather", "arguments": {arguments}}}')


OSLO: dict[str, Any] = {"city": "Oslo"}
OSLO_CALL = '{"name": "get_weather", "arguments": {"city": "Oslo"}}'

REPAIRED: list[tuple[str, str, dict[str, Any]]] = [
    ("trailing_comma", weather('{"city": "Oslo",}'), OSLO),
    (
        "python_literal",
        weather('{"city": "Oslo", "x": [True, False, None]}'),
        {**OSLO, "x": [True, False, None]},
    ),
    ("single_quotes", weather("{'city': 'Oslo'}"), OSLO),
    ("single_quotes", weather("{'city': 'l\\'\"x\"'}"), {"city": 'l\'"x"'}),
    ("doubled_braces", block(f"{{{OSLO_CALL}}}"), OSLO),
    ("unquoted_keys", weather('{city: "Oslo"}'), OSLO),
    ("raw_control_chars", weather('{"city": "a\n\tb\x01"}'), {"city": "a\n\tb\x01"}),
    ("invalid_escape", weather('{"city": "it\\\'s"}'), {"city": "it's"}),
    ("invalid_escape", weather('{"city": "\\d+\\.\\s"}'), {"city": "\\d+\\.\\s"}),
    ("extra_brace", weather('{"city": "Oslo"}}'), OSLO),
    ("missing_brace", block('{"name": "get_weather", "arguments": {"city": "Oslo"}'), OSLO),
    ("missing_end_tag", '<tool_call>{"name": "get_weather", "arguments": {"city": "Oslo"}}', OSLO),
    ("doubled_tags", "<tool_call>" + weather('{"city": "Oslo"}'), OSLO),
    (
        "wrong_end_tag",
        '<tool_call>{"name": "get_weather", "arguments": {"city": "Oslo"}}</tools>',
        OSLO,
    ),
    ("junk_in_span", block('\\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\\n'), OSLO),
    (
        "code_fence",
        block('```json\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n```'),
        OSLO,
    ),
    ("list_in_tag", block('[{"name": "get_weather", "arguments": {"city": "Oslo"}}]'), OSLO),
    (
        "openai_wrapper",
        block(
            '{"type": "function", "function": '
            '{"name": "get_weather", "arguments": {"city": "Oslo"}}}'
        ),
        OSLO,
    ),
    ("arguments_alias", block('{"name": "get_weather", "parameters": {"city": "Oslo"}}'), OSLO),
    ("arguments_alias", block('{"name": "get_weather", "args": {"city": "Oslo"}}'), OSLO),
    ("arguments_as_string", weather('"{\\"city\\": \\"Oslo\\"}"'), OSLO),
    ("flat_arguments", block('{"name": "get_weather", "city": "Oslo"}'), OSLO),
    ("no_arguments_key", block('{"name": "get_time"}'), {}),
    ("null_arguments", block('{"name": "get_time", "arguments": null}'), {}),
    ("arguments_as_string", block('{"name": "get_time", "arguments": ""}'), {}),
    (
        "name_normalised",
        block('{"name": "functions.get_weather", "arguments": {"city": "Oslo"}}'),
        OSLO,
    ),
    ("name_normalised", block('{"name": "Get-Weather ", "arguments": {"city": "Oslo"}}'), OSLO),
    ("lone_surrogate", weather('{"city": "\\ud83d"}'), {"city": "\ufffd"}),
    (
        "unescaped_quotes",
        block('{"name": "search", "arguments": {"q": "use "strict"; x"}}'),
        {"q": 'use "strict"; x'},
    ),
    (
        "unescaped_quotes",
        block('{"name": "search", "arguments": {"q": "{"a": "b"}"}}'),
        {"q": '{"a": "b"}'},
    ),
    ("number_as_string", block('{"name": "typed", "arguments": {"n": "20"}}'), {"n": 20}),
    ("number_as_string", block('{"name": "typed", "arguments": {"x": "-1.5e3"}}'), {"x": -1500.0}),
    ("boolean_as_string", block('{"name": "typed", "arguments": {"on": "True"}}'), {"on": True}),
    ("null_as_string", block('{"name": "typed", "arguments": {"none": "null"}}'), {"none": None}),
    (
        "json_as_string",
        block('{"name": "typed", "arguments": {"list": "[1, 2]"}}'),
        {"list": [1, 2]},
    ),
    (
        "json_as_string",
        block('{"name": "typed", "arguments": {"map": "{\\"a\\": 1}"}}'),
        {"map": {"a": 1}},
    ),
]


@pytest.mark.parametrize(("step", "text", "arguments"), REPAIRED)
def test_repaired(step: str, text: str, arguments: dict[str, Any]) -> None:
    message = parse_all(text, tools=ALL)
    assert not message.errors
    (call,) = message.calls
    assert call.arguments == arguments
    assert step in call.repairs
    assert not message.content


def test_repairs_add_up_in_order() -> None:
    text = "<tool_call>{name: 'typed', args: {'n': '7', 'on': True,}}"
    (call,) = parse_all(text, tools=ALL).calls
    assert call.arguments == {"n": 7, "on": True}
    assert call.repairs == (
        *("missing_end_tag", "single_quotes", "unquoted_keys", "python_literal"),
        *("trailing_comma", "arguments_alias", "number_as_string"),
    )


@pytest.mark.parametrize(
    ("why", "body"),
    [
        ("a number cut in two", '{"name": "typed", "arguments": {"n": 4.2.3}}'),
        ("a bare word as a value", '{"name": "search", "arguments": {"q": hello}}'),
        ("a regex escape beside a line break", '{"name": "search", "arguments": {"q": "\\d\\n"}}'),
        ("an unknown escape", '{"name": "search", "arguments": {"q": "\\q"}}'),
        ("a missing value", '{"name": "search", "arguments": {"q": }}'),
        ("a missing comma", '{"name": "search", "arguments": {"q": "a" "b": 1}}'),
        ("NaN", '{"name": "typed", "arguments": {"x": NaN}}'),
        ("two inner braces missing", '{"name": "search", "arguments": {"q": "a"'),
        ("mismatched brackets", '{"name": "typed", "arguments": {"list": [1}}'),
        ("a number beyond every float", '{"name": "typed", "arguments": {"x": 1e999}}'),
        ("an expression", '{"name": "typed", "arguments": {"n": 1 + 1}}'),
    ],
)
def test_left_alone(why: str, body: str) -> None:
    message = parse_all(block(body), tools=ALL)
    assert not message.calls, why
    (error,) = message.errors
    assert error.kind == "invalid_json"
    assert error.message.startswith("The JSON of the call is invalid")
    assert "\n" not in error.message


@pytest.mark.parametrize(
    "arguments",
    [
        {"n": "20.5"},
        {"x": "123456789012345678.5"},
        {"few": "20"},
        {"pair": '["a", "b"]'},
        {"pair": '["a"]'},
        {"n": "0x10"},
        {"n": "007"},
        {"n": ""},
        {"on": "yes"},
        {"list": "1, 2"},
        {"list": '["a"]'},
        {"either": "3"},
        {"unit": "k"},
    ],
)
def test_not_coerced(arguments: dict[str, str]) -> None:
    """Not lossless, not valid afterwards, or already valid as a string."""
    key, value = next(iter(arguments.items()))
    quoted = value.replace('"', '\\"')
    text = block(f'{{"name": "typed", "arguments": {{"{key}": "{quoted}"}}}}')
    (call,) = parse_all(text, tools=ALL).calls
    assert call.arguments == arguments
    assert call.repairs == ()


def test_unescaped_quotes_need_one_reading_that_fits() -> None:
    body = '{"name": "search", "arguments": {"q": "say "hi""}}'
    assert parse_all(block(body)).errors  # without tools nobody can tell what fits
    assert parse_all(block(body), tools=ALL).calls[0].arguments == {"q": 'say "hi"'}
    optional = tool("note", {"a": {"type": "string"}, "b": {"type": "string"}})
    text = block('{"name": "note", "arguments": {"a": "x "y" z", "b": "c"}}')
    assert parse_all(text, tools=[optional]).errors  # `b` may be an argument or part of the text


def test_too_many_readings_are_an_error() -> None:
    tangle = ", ".join(f'"{at}": "x"' for at in range(40))
    text = block(f'{{"name": "search", "arguments": {{"q": "a" {tangle}"}}}}')
    assert parse_all(text, tools=ALL).errors[0].kind == "invalid_json"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (False, 1),
        ({"const": 1}, True),
        ({"enum": ["a"]}, "b"),
        ({"type": ["integer", "null"]}, "1"),
        ({"type": "integer"}, 1.5),
        ({"type": "integer"}, True),
        ({"items": {"type": "string"}}, [1]),
        ({"required": ["a"]}, {}),
        ({"properties": {"a": {}}, "additionalProperties": False}, {"b": 1}),
        ({"additionalProperties": {"type": "integer"}}, {"b": "x"}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 1),
        ({"allOf": [{}, {"type": "string"}]}, 1),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "string"}}}, 1),
        ({"properties": {"a": {"$ref": "#"}}, "required": ["a"]}, {"a": {}}),
        ({"minimum": 1}, 0),
        ({"maximum": 1}, 1.5),
        ({"exclusiveMinimum": 1}, 1),
        ({"exclusiveMaximum": 1}, 1),
        ({"minLength": 2}, "a"),
        ({"maxLength": 2}, "abc"),
        ({"minItems": 1}, []),
        ({"maxItems": 1}, [1, 2]),
        ({"prefixItems": [{"type": "string"}]}, [1]),
        ({"prefixItems": [True], "items": {"type": "string"}}, [1, 2]),
    ],
)
def test_schema_check_agrees_with_jsonschema(schema: Any, value: object) -> None:
    assert not accepts(schema, value)
    official: Any = Draft202012Validator(schema)
    assert not official.is_valid(value)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (True, 1),
        (None, 1),
        ({}, [1]),
        ({"type": "number"}, 1),
        ({"type": "integer"}, 2.0),
        ({"type": "null"}, None),
        ({"enum": [1, "a"]}, "a"),
        ({"properties": {"a": {"type": "string"}}}, {"b": 1}),
        ({"oneOf": [{"type": "string"}, {"type": "array"}]}, []),
        ({"$ref": "https://example.com/elsewhere.json"}, 1),
        ({"$ref": "#/nowhere"}, 1),
        ({"minimum": 1, "maxLength": 2, "minItems": 1}, True),
        ({"prefixItems": [{"type": "string"}, {"type": "integer"}]}, ["a"]),
        ({"prefixItems": [{"type": "string"}], "items": {"type": "integer"}}, ["a", 1]),
    ],
)
def test_schema_check_accepts(schema: Any, value: object) -> None:
    assert accepts(schema, value)


def test_text_that_was_inside_a_string_gets_no_repairs() -> None:
    text = (
        '<tool_call>{"name": "search", "arguments": {"q": "open}}</tool_call>\n'
        "<tool_call>{'name': 'get_time', 'arguments': {}}</tool_call>\n"
        '<tool_call>{"name": "get_weather", "arguments": {"city": "Oslo"}}</tool_call>'
    )
    message = parse_all(text, tools=ALL)
    assert [call.name for call in message.calls] == ["get_weather"]
    assert [error.kind for error in message.errors] == ["invalid_json", "invalid_json"]
