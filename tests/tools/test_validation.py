"""What is accepted, what is read as another type, and what is said about the rest."""

from __future__ import annotations

import dataclasses
import json
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field

from ling_agent.tools import Tool, tool
from ling_agent.tools.coercion import readings
from ling_agent.tools.problems import ArgumentError


class Color(Enum):
    red = "red"
    blue = "blue"


class Box(BaseModel):
    width: int
    label: str = ""


def even(value: int) -> int:
    if value % 2:
        raise ValueError("must be even")
    return value


def f(
    n: int = 0,
    x: float = 0.0,
    flag: bool = False,
    text: str = "",
    maybe: int | None = None,
    key: int | str = 0,
    box: Box | None = None,
    items: list[int] = [],  # noqa: B006
    color: Color = Color.red,
    word: Literal["a", 1] = "a",
    pos: Annotated[int, Field(ge=1)] = 1,
    pair: Annotated[int, AfterValidator(even)] = 0,
) -> None: ...


FUNCTION = tool(f)
RAW = Tool.from_schema(
    "f",
    "",
    {
        "type": "object",
        "properties": {
            "n": {"type": "integer"},
            "x": {"type": "number"},
            "flag": {"type": "boolean"},
            "text": {"type": "string"},
            "maybe": {"type": ["integer", "null"]},
            "key": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "box": {
                "type": "object",
                "properties": {"width": {"type": "integer"}},
                "required": ["width"],
            },
            "items": {"type": "array", "items": {"type": "integer"}},
            "color": {"enum": ["red", "blue"]},
            "pos": {"type": "integer", "minimum": 1},
        },
        "additionalProperties": False,
    },
    f,
)
both = pytest.mark.parametrize("made", [FUNCTION, RAW], ids=["function", "raw schema"])


@both
@pytest.mark.parametrize(
    ("name", "given_value", "read"),
    [
        ("n", "3", 3),
        ("n", " -7 ", -7),
        ("n", 3.0, 3),
        ("n", "3.0", 3),
        ("x", "2.5", 2.5),
        ("flag", "true", True),
        ("flag", "False", False),
        ("maybe", "null", None),
        ("maybe", "4", 4),
        ("items", "[1, 2]", [1, 2]),
        ("items", ["1", 2.0], [1, 2]),
        ("items", '["1", 2]', [1, 2]),
        ("box", '{"width": "3"}', {"width": 3}),
        ("box", {"width": 4.0}, {"width": 4}),
    ],
)
def test_lossless_readings_are_done_and_noted(
    made: Tool[..., Any], name: str, given_value: Any, read: Any
) -> None:
    call = made.validate({name: given_value})
    assert call.json_arguments[name] == read
    assert type(call.json_arguments[name]) is type(read)
    assert call.coercions
    assert all(note.startswith(name) for note in call.coercions)


@both
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 3.5),
        ("n", "3.5"),
        ("n", "three"),
        ("n", "007"),
        ("n", ""),
        ("n", True),
        ("n", None),
        ("n", "1e400"),
        ("n", 1e300),
        ("x", "0.1000000000000000000001"),
        ("x", "NaN"),
        ("x", True),
        ("flag", 1),
        ("flag", "yes"),
        ("text", 3),
        ("text", None),
        ("items", 3),
        ("items", "1, 2"),
        ("items", ["1", "x"]),
        ("box", "width"),
        ("color", "green"),
        ("pos", "0"),
    ],
)
def test_lossy_readings_are_never_done(made: Tool[..., Any], name: str, value: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        made.validate({name: value})
    assert caught.value.message.startswith(name)


@both
@pytest.mark.parametrize(
    ("name", "value"),
    [("text", "3"), ("text", "true"), ("text", "[1]"), ("key", "3"), ("key", 3), ("x", 3)],
)
def test_what_fits_is_not_touched(made: Tool[..., Any], name: str, value: Any) -> None:
    call = made.validate({name: value})
    assert call.arguments[name] == value
    assert type(call.arguments[name]) is type(value) or name == "x"
    assert call.coercions == ()


@both
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": "three"}, 'n: expected an integer, got "three" (string)'),
        ({"items": [1, "x"]}, 'items[1]: expected an integer, got "x" (string)'),
        ({"box": {}}, "box.width: required, but missing"),
    ],
)
def test_messages_say_which_argument_what_was_expected_and_what_came(
    made: Tool[..., Any], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentError) as caught:
        made.validate(arguments)
    assert caught.value.message == message


def test_more_messages() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"pos": 0}, "pos: expected a value greater than or equal to 1, got 0 (integer)"),
        ({"pos": "0"}, "pos: expected a value greater than or equal to 1, got 0 (integer)"),
        ({"color": "green"}, "color: expected 'red' or 'blue', got \"green\" (string)"),
        ({"pair": 3}, "pair: must be even; got 3 (integer)"),
        (
            {"key": []},
            "key: expected an integer or a valid string, got [] (array)",
        ),
    ]
    for arguments, message in cases:
        with pytest.raises(ArgumentError) as caught:
            FUNCTION.validate(arguments)
        assert caught.value.message == message


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]


def test_bounds_and_tags_are_said_in_words() -> None:
    def f(
        ids: Annotated[list[int], Field(min_length=1, max_length=2)],
        pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None,
        code: Annotated[str, Field(pattern="^x", max_length=3)] = "x",
        step: Annotated[int, Field(multiple_of=5)] = 5,
    ) -> None: ...

    made = Tool.from_function(f)
    raw = Tool.from_schema("raw", "", made.parameters, f)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"ids": []}, "ids: expected at least 1 item, got [] (array)"),
        ({"ids": [1, 2, 3]}, "ids: expected at most 2 items, got [1,2,3] (array)"),
        ({"code": "q"}, 'code: expected text that matches "^x", got "q" (string)'),
        ({"code": "xxxx"}, 'code: expected at most 3 characters, got "xxxx" (string)'),
        ({"step": 7}, "step: expected a multiple of 5, got 7 (integer)"),
    ]
    for arguments, message in cases:
        for one in (made, raw):
            with pytest.raises(ArgumentError) as caught:
                one.validate({"ids": [1], **arguments})
            assert caught.value.message == message
    with pytest.raises(ArgumentError) as caught:
        made.validate({"ids": [1], "pet": {"kind": "cow"}})
    assert caught.value.message == "pet.kind: expected one of 'cat', 'dog', got \"cow\" (string)"
    with pytest.raises(ArgumentError) as caught:
        made.validate({"ids": [1], "pet": {"lives": 1}})
    assert caught.value.message == "pet.kind: required, but missing"
    assert made.validate({"ids": [1], "pet": {"kind": "cat", "lives": "9"}}).coercions


def test_every_problem_has_its_line() -> None:
    def g(name: str, n: int) -> None: ...

    with pytest.raises(ArgumentError) as caught:
        tool(g).validate({"n": [], "naem": "x"})
    assert caught.value.message.split("\n") == [
        "name: required, but missing; expected a string",
        "n: expected an integer, got [] (array)",
        "naem: not an argument of this tool; its arguments: name, n",
    ]


def test_raw_schemas_say_the_same() -> None:
    raw = Tool.from_schema("g", "", tool(_g).parameters, _g)
    with pytest.raises(ArgumentError) as caught:
        raw.validate({"n": [], "naem": "x"})
    assert set(caught.value.message.split("\n")) == {
        "name: required, but missing; expected a string",
        "n: expected an integer, got [] (array)",
        "naem: not an argument of this tool; its arguments: name, n",
    }


def _g(name: str, n: int) -> None: ...


def test_messages_are_bounded() -> None:
    with pytest.raises(ArgumentError) as caught:
        FUNCTION.validate({"items": ["x" * 5_000] * 500, "n": "y" * 5_000})
    lines = caught.value.message.split("\n")
    assert lines[-1].startswith("and ")
    assert len(caught.value.message) < 2_000


def test_a_lone_surrogate_is_a_problem_and_not_a_crash() -> None:
    with pytest.raises(ArgumentError):
        FUNCTION.validate({"text": "\ud800"})


def test_models_enums_and_defaults_reach_the_function() -> None:
    call = FUNCTION.validate({"box": {"width": 1}, "color": "blue"})
    assert call.arguments["box"] == Box(width=1)
    assert call.arguments["color"] is Color.blue
    assert call.json_arguments == {"box": {"width": 1}, "color": "blue"}


def test_arguments_are_not_changed() -> None:
    arguments: dict[str, Any] = {"items": ["1"], "box": '{"width": 1}'}
    before = json.dumps(arguments)
    FUNCTION.validate(arguments)
    assert json.dumps(arguments) == before
    raw_arguments: dict[str, Any] = {"items": [1]}
    RAW.validate(raw_arguments).arguments["items"].append(2)
    assert raw_arguments == {"items": [1]}


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(JSON)
def test_a_reading_says_what_the_value_said(value: Any) -> None:
    for read in readings(value):
        if isinstance(value, float):
            assert read == value
        else:
            again = json.loads(value.replace("True", "true").replace("False", "false"))
            assert read == again or value.strip() == "None"


@given(st.integers())
def test_every_integer_survives_being_written_as_text(number: int) -> None:
    assert FUNCTION.validate({"n": str(number)}).arguments["n"] == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_survives_being_written_as_text(number: float) -> None:
    assert FUNCTION.validate({"x": repr(number)}).arguments["x"] == number


@given(JSON)
def test_any_value_is_accepted_or_explained(value: Any) -> None:
    def check(made: Tool[..., Any]) -> None:
        for name in RAW.parameters["properties"]:
            message = ""
            try:
                call = made.validate({name: value})
            except ArgumentError as error:
                message = error.message
            else:
                # What was read once fits as it is: reading is idempotent.
                assert made.validate(call.json_arguments).coercions == ()
            assert message == "" or message.startswith(name)

    check(FUNCTION)
    check(RAW)


def test_an_unknown_key_of_a_nested_dataclass_is_told_as_one() -> None:
    @dataclasses.dataclass
    class Offer:
        gpu: str

    @tool
    def rent(offer: Offer) -> str:
        """Rent."""
        return offer.gpu

    with pytest.raises(ArgumentError) as caught:
        rent.validate({"offer": {"gpu": "H100", "colour": "red"}})
    assert "colour" in caught.value.message
    assert "unexpected keyword" not in caught.value.message


@pytest.mark.parametrize("key", ["a\nb", "\u2028", "\x1b[2J", "k" * 200])
def test_a_key_is_told_on_one_line(key: str) -> None:
    @tool
    def add(a: int) -> int:
        """Add."""
        return a

    with pytest.raises(ArgumentError) as caught:
        add.validate({"a": 1, key: 2})
    (line,) = caught.value.message.splitlines()
    assert line.isprintable()
    assert len(line) < 300
