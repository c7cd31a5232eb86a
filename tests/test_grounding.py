"""What of a call was said: further calls, values that were made up, how much of a call is known."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ling_agent.grounding import Conversation, called_for, share_said, without_inventions


def said(value: object, *texts: str) -> bool | None:
    return Conversation(texts).said(value)


def tool(name: str, parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def made(tool_name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": tool_name, "arguments": arguments}


# -- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("RTX 4090", "Find me the cheapest RTX-4090, please."),
        ("New York", "weather in NEW YORK"),
        ("São Paulo", "Wetter in Sao Paulo"),
        ("Sao Paulo", "Como está o tempo em São Paulo?"),
        ("Malmo", "Vädret i Malmö"),
        ("GROSSE", "Die große Frage"),
        ("北京", "查一下北京的天气"),
        ("北京, 上海", "比较上海和北京的天气"),
        ("Москва", "погода: москва, завтра"),
        ("orders", "Cancel my order of yesterday"),
        ("2024-03-05", "on March 5, 2024"),
        ("05/03/2024", "am 5. März 2024"),
        ("14:30", "at 14.30 h"),
        (0.15, "fifteen percent, so 15%"),
        (15, "a share of 0.15"),
        (-40, "reduce it by 40"),
        (3, "three offers"),
        (2_500_000, "a budget of 2.5 million"),
        (50_000, "50k a year"),
        (1234.5, "1,234.5 in all"),
    ],
)
def test_said(value: object, text: str) -> None:
    assert said(value, "Hello.", text) is True


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("London", "weather in Paris"),
        ("2023-03-05", "on March 5, 2024"),
        ("a long title that was made up", "write a letter"),
        (7, "three offers, 17 pages"),
        (10**400, "1" + "0" * 400),
        (5, "9" * 400),
        (float("nan"), "nan"),
        ("上海", "查一下北京的天气"),
    ],
)
def test_not_said(value: object, text: str) -> None:
    assert said(value, text) is False


@pytest.mark.parametrize("value", [True, False, None, "", "…", [], {}, ["said"]])
def test_what_says_nothing(value: object) -> None:
    assert said(value, "true, said") is None


# -- further calls --------------------------------------------------------------------------------

WEATHER = tool(
    "weather",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "kelvin"]}},
        "required": ["city"],
    },
)
CLOCK = tool("clock", {"type": "object", "properties": {"zone": {"type": "string"}}})
OSLO, ROME = made("weather", city="Oslo"), made("weather", city="Rome")


def kept(calls: list[dict[str, Any]], text: str) -> list[Any]:
    return called_for(calls, Conversation([text]), [WEATHER, CLOCK])


def test_several_calls_that_were_asked_for_stay() -> None:
    assert kept([OSLO, ROME], "Weather in Oslo and in Rome?") == [OSLO, ROME]
    assert kept([OSLO, ROME], "奥斯陆 Oslo 和罗马 Rome 的天气") == [OSLO, ROME]


def test_the_first_call_always_stays() -> None:
    assert kept([ROME], "Weather in the capital of Italy?") == [ROME]
    assert kept([], "Weather?") == []


def test_a_call_that_nobody_asked_for_ends_the_list() -> None:
    paris = made("weather", city="Paris")
    assert kept([OSLO, paris, ROME], "Weather in Oslo and in Rome?") == [OSLO]


def test_a_repeated_call_ends_the_list() -> None:
    assert kept([OSLO, OSLO, ROME], "Weather in Oslo and in Rome?") == [OSLO]


def test_another_tool_for_what_was_said_already_stays() -> None:
    clock = made("clock", zone="Oslo")
    assert kept([OSLO, clock], "Weather in Oslo, and what do clocks show there?") == [OSLO, clock]
    assert kept([OSLO, clock], "Weather in Oslo?") == [OSLO], "nobody speaks of a clock"
    assert kept([OSLO, made("clock", zone="Asia")], "Weather in Oslo?") == [OSLO]
    assert kept([OSLO, made("clock")], "Weather in Oslo?") == [OSLO], "nothing speaks for it"


def test_the_words_of_an_enumeration_speak_neither_for_nor_against() -> None:
    rome = made("weather", city="Rome", unit="celsius")
    assert kept([OSLO, rome], "Oslo and Rome?") == [OSLO, rome]
    assert kept([OSLO, made("weather", city="Oslo", unit="celsius")], "Oslo?") == [OSLO]


# -- values that were made up ---------------------------------------------------------------------


def refined(arguments: dict[str, Any], schema: Any, text: str) -> tuple[dict[str, Any], Any]:
    return without_inventions(arguments, schema, Conversation([text]))


OFFERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "gpu": {"type": "string"},
        "region": {"type": "string"},
        "limit": {"type": "integer", "default": 10},
        "tags": {"type": "array", "items": {"enum": ["new", "used", "rented"]}},
        "verified": {"type": "boolean"},
    },
    "required": ["gpu"],
}


def test_optional_values_that_were_made_up_are_left_out_and_told() -> None:
    arguments = {"gpu": "H100", "region": "Europe", "limit": 5, "verified": True}
    got, notes = refined(arguments, OFFERS, "Cheapest RTX 4090?")
    assert got == {"gpu": "H100", "verified": True}
    assert notes == (
        'left out region: nobody mentioned "Europe"',
        "left out limit: nobody mentioned 5",
    )


def test_what_was_said_and_what_is_the_default_stays() -> None:
    arguments = {"gpu": "RTX 4090", "region": "Europa", "limit": 10}
    assert refined(arguments, OFFERS, "RTX 4090 in Europa?") == (arguments, ())


def test_of_a_list_only_what_was_said_stays() -> None:
    arguments = {"gpu": "RTX 4090", "tags": ["new", "used", "rented"]}
    got, notes = refined(arguments, OFFERS, "A used RTX 4090?")
    assert got == {"gpu": "RTX 4090", "tags": ["used"]}
    assert notes == ("shortened tags to what was mentioned",)
    got, notes = refined(arguments, OFFERS, "An RTX 4090?")
    assert got == {"gpu": "RTX 4090"}
    assert notes == ('left out tags: nobody mentioned ["new", "used", "rented"]',)


def test_a_list_keeps_its_least_length_and_a_required_one_its_items() -> None:
    pair = {"type": "array", "items": {"type": "string"}, "minItems": 2}
    schema = {"type": "object", "properties": {"of": pair}, "required": ["of"]}
    arguments = {"of": ["Oslo", "Paris"]}
    assert refined(arguments, schema, "Oslo?") == (arguments, ())
    assert refined(arguments, schema, "Which cities?") == (arguments, ())


def test_a_list_that_is_the_default_stays_whole() -> None:
    tags = {"type": "array", "default": ["new", "used"]}
    arguments = {"tags": ["new", "used"]}
    schema = {"type": "object", "properties": {"tags": tags}}
    assert refined(arguments, schema, "A used one?") == (arguments, ())


@pytest.mark.parametrize(
    "more",
    [
        {"anyOf": [{"required": ["city"]}, {"required": ["zip"]}]},
        {"minProperties": 1},
        {"dependentRequired": {"zip": ["city"]}},
    ],
)
def test_arguments_that_are_tied_to_each_other_are_not_left_out(more: dict[str, Any]) -> None:
    texts = {"city": {"type": "string"}, "zip": {"type": "string"}}
    schema = {"type": "object", "properties": texts, **more}
    arguments = {"city": "Rome"}
    assert refined(arguments, schema, "Weather in the capital of Italy?") == (arguments, ())


def test_a_long_value_is_told_in_short() -> None:
    _, (note,) = refined({"region": "x y" * 100, "gpu": ""}, OFFERS, "An offer?")
    assert len(note) < 100
    assert note.endswith("…")


# -- how much of a call was said ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "text", "share"),
    [
        (OSLO, "Weather in Oslo?", 1.0),
        (OSLO, "Weather in the capital of Norway?", 0.0),
        (made("weather", city="Oslo", unit="kelvin"), "Oslo?", 1.0),
        (made("weather", unit="kelvin"), "Oslo?", 0.5),
        (made("weather"), "Oslo?", 0.5),
        (made("weather", city=["Oslo", "Rome"]), "Oslo?", 0.5),
    ],
)
def test_share_said(call: dict[str, Any], text: str, share: float) -> None:
    schema = WEATHER["function"]["parameters"]
    assert share_said(call, schema, Conversation([text])) == share


# -- whatever comes -------------------------------------------------------------------------------

Strategy = st.SearchStrategy[Any]

names: Strategy = st.sampled_from(["a", "b", "c", "größe"]) | st.text(max_size=3)
leaves: Strategy = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**300, 10**400)
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["Oslo", "2024-03-05", "12:30", "new", "new york"])
)
values: Strategy = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
keywords: Strategy = st.sampled_from(
    ["type", "properties", "required", "items", "enum", "default", "minItems", "$ref", "anyOf"]
)
schemas: Strategy = st.recursive(
    st.booleans()
    | st.just({"items": True})
    | st.just({"$ref": "#/$defs/x"})
    | st.dictionaries(keywords, values, max_size=4),
    lambda inner: st.fixed_dictionaries(
        {"type": st.just("object"), "properties": st.dictionaries(names, inner, max_size=3)},
        optional={"required": st.lists(names, max_size=2), "minItems": leaves, "items": inner},
    ),
    max_leaves=5,
)
arguments_: Strategy = st.dictionaries(names, values, max_size=4)
texts_: Strategy = st.lists(
    st.text(max_size=30) | st.sampled_from(["Oslo, new and 12.5%", "9" * 400]), max_size=3
)
calls_: Strategy = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from(["f", "g", "?"]), "arguments": arguments_}),
    max_size=5,
)


def required_by(schema: Any) -> list[str]:
    names = cast("dict[str, Any]", schema).get("required") if isinstance(schema, dict) else None
    listed = cast("list[Any]", names) if isinstance(names, list) else []
    return [name for name in listed if isinstance(name, str)]


@settings(max_examples=300, deadline=None)
@given(arguments=arguments_, schema=schemas, texts=texts_)
def test_arguments_only_lose_what_they_may(
    arguments: dict[str, Any], schema: Any, texts: list[str]
) -> None:
    before, conversation = copy.deepcopy(arguments), Conversation(texts)
    got, notes = without_inventions(arguments, schema, conversation)
    assert repr(arguments) == repr(before), "the call itself is left alone"
    assert repr((got, notes)) == repr(without_inventions(arguments, schema, Conversation(texts)))
    assert list(got) == [name for name in arguments if name in got]
    for name, value in got.items():
        if isinstance(value, list):
            rest = iter(arguments[name])
            assert all(any(item is other for other in rest) for item in cast("list[Any]", value))
        else:
            assert value is arguments[name]
    for name in required_by(schema):
        assert name not in arguments or name in got
    changed = [
        name for name in arguments if name not in got or repr(got[name]) != repr(before[name])
    ]
    assert len(notes) == len(changed)
    assert 0 <= share_said({"name": "f", "arguments": arguments}, schema, conversation) <= 1


@settings(max_examples=200, deadline=None)
@given(calls=calls_, first=schemas, second=schemas, texts=texts_)
def test_what_is_called_for_begins_the_list(
    calls: list[dict[str, Any]], first: Any, second: Any, texts: list[str]
) -> None:
    tools = [tool("f", first), tool("g", second)]
    got = called_for(calls, Conversation(texts), tools)
    assert all(one is other for one, other in zip(got, calls, strict=False))
    assert min(len(calls), 1) <= len(got) <= len(calls)
    assert len(called_for(calls, Conversation(texts), tools)) == len(got)
    for end in range(len(calls)):  # a draft that is looked at while it is written
        assert len(called_for(calls[:end], Conversation(texts), tools)) == min(end, len(got))


def test_deeply_nested_arguments_are_read() -> None:
    deep: Any = "Oslo"
    for _ in range(5000):
        deep = [deep]
    call = made("weather", city=deep)
    assert share_said(call, {"required": ["city"]}, Conversation(["Oslo"])) == 1.0
