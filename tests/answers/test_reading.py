"""A model's text as a value of the type, or what is wrong with it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, field_validator

from ling_agent.answers import AnswerError, AnswerSpec


class Colour(Enum):
    red = "red"
    green = "green"


@dataclass
class Offer:
    gpu: str
    price: float
    tags: list[str] | None = None


class Person(BaseModel):
    name: str
    age: int = Field(ge=0)

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name == "nobody":
            raise ValueError("nobody is no name")
        return name


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


def problems(output_type: Any, text: str) -> tuple[str, ...]:
    with pytest.raises(AnswerError) as caught:
        AnswerSpec.of(output_type).read(text)
    error = caught.value
    assert error.message == "\n".join(error.problems) == str(error)
    assert error.problems
    assert all("\n" not in line for line in error.problems)
    return error.problems


X = Offer("x", 1.0)

TAKEN: list[tuple[Any, str, Any]] = [
    # as it was asked for
    (Offer, '{"gpu": "x", "price": 1}', X),
    (Offer, ' \n{"gpu": "x", "price": 1.0, "tags": null}\n', X),
    (Colour, '{"answer": "red"}', Colour.red),
    (list[Offer], '{"answer": [{"gpu": "x", "price": 1}]}', [X]),
    (Offer | Person, '{"answer": {"name": "y", "age": 3}}', Person(name="y", age=3)),
    (Tree, '{"value": 1, "children": [{"value": 2}]}', Tree(value=1, children=[Tree(value=2)])),
    (tuple[int, str], '{"answer": [1, "a"]}', (1, "a")),
    (set[int], '{"answer": [1, 2, 1]}', {1, 2}),
    # readings that lose nothing
    (Offer, '{"gpu": "x", "price": "1"}', X),
    (Offer, '{"gpu": "x", "price": 1, "tags": "[\\"a\\"]"}', Offer("x", 1.0, ["a"])),
    (int, '{"answer": "3"}', 3),
    (int, '{"answer": 3.0}', 3),
    (bool, '{"answer": "true"}', True),
    (Offer, '"{\\"gpu\\": \\"x\\", \\"price\\": 1}"', X),
    # the bare value
    (int, "3", 3),
    (int | None, "null", None),
    (list[int], "[1, 2]", [1, 2]),
    (Offer | Person, '{"gpu": "x", "price": 1}', X),
    (Colour, '"red"', Colour.red),
    (Colour, "red", Colour.red),
    (Literal["a b", 3], "a b", "a b"),
    (Literal["3", 3], "3", 3),
    (Literal["3", 3], '"3"', "3"),
    (dt.date, "2026-01-31", dt.date(2026, 1, 31)),
    (str | None, "Just text.", "Just text."),
    (int | str, "3", 3),
    (bool, "True", True),
    (dict[str, int] | int, '{"answer": 3}', 3),
    # around it
    (Offer, '```json\n{"gpu": "x", "price": 1}\n```', X),
    (Offer, '```\n{\n  "gpu": "x",\n  "price": 1\n}\n```\nThat is all.', X),
    (Offer, '```json {"gpu": "x", "price": 1} ```', X),
    (Offer, 'Here [1] it is: {"gpu": "x", "price": 1}. {Good}?', X),
    (Offer, 'First {"gpu": "x"}, then {"gpu": "x", "price": 1}', X),
    (Offer, '{"gpu": "x", "price": 1} is {"gpu": "x", "price": "1"}', X),
    (int, "```\n3\n```", 3),
    (Colour, "```\nred\n```", Colour.red),
    (Colour, 'I choose {"answer": "red"}!', Colour.red),
    (Offer, '{"gpu": "```\\n", "price": 1}', Offer("```\n", 1.0)),
    (list[int], 'Well: {"answer": [3]}', [3]),
    # repairs
    (Offer, "{'gpu': 'x', 'price': 1,}", X),
    (Offer, "{gpu: 'x', price: 1, tags: None}", X),
    (Offer, '{{"gpu": "x", "price": 1}}', X),
    (Offer, '{"gpu": "a "b" c", "price": 1}', Offer('a "b" c', 1.0)),
    (Offer, '{"gpu": "x\ny", "price": 1}', Offer("x\ny", 1.0)),
    (Offer | Colour, '```json\n{"answer": {"gpu": "x", "price": 1}\n```', X),
    (Offer, "I say {'gpu': 'x', 'price': 1}", X),
]  # fmt: skip


@pytest.mark.parametrize(("output_type", "text", "value"), TAKEN, ids=repr)
def test_taken(output_type: Any, text: str, value: Any) -> None:
    read = AnswerSpec.of(output_type).read(text)
    assert read == value
    assert type(read) is type(value)


REFUSED: list[tuple[Any, str, list[str]]] = [
    (Offer, '{"gpu": "x"}', ["price: required, but missing; expected a number"]),
    (
        Offer,
        '{"gpu": 3, "price": true}',
        [
            "gpu: expected a valid string, got 3 (integer)",
            "price: expected a valid number, got true (boolean)",
        ],
    ),
    (Offer, "[1]", ["the answer: expected an object, got [1] (array)"]),
    (Offer, "", ['the answer: expected an object, got "" (string)']),
    (
        Offer,
        '{"gpu": "x", "price": 1, "z": 2}',
        ["z: not a known key; the keys here: gpu, price, tags"],
    ),
    (
        Person,
        '{"name": "a", "age": -1}',
        ["age: expected a value greater than or equal to 0, got -1 (integer)"],
    ),
    (Person, '{"name": "nobody", "age": 1}', ['name: nobody is no name; got "nobody" (string)']),
    (
        Tree,
        '{"value": 1, "children": [{}]}',
        ["children[0].value: required, but missing; expected an integer"],
    ),
    (Colour, "blue", ["answer: expected 'red' or 'green', got \"blue\" (string)"]),
    (Colour, '{"answer": "blue"}', ["answer: expected 'red' or 'green', got \"blue\" (string)"]),
    (Colour, "It is red.", ["answer: expected 'red' or 'green', got \"It is red.\" (string)"]),
    (Colour, '{"c": "red"}', ["answer: expected 'red' or 'green', got {\"c\":\"red\"} (object)"]),
    (int, '{"answer": 3, "sure": true}', ["sure: not a known key; the keys here: answer"]),
    (int, "The answer is 3.", ['answer: expected an integer, got "The answer is 3." (string)']),
    (int, "3.5", ["answer: expected an integer, got 3.5 (number)"]),
    (
        list[Offer],
        '{"answer": [{"gpu": "x"}]}',
        ["answer[0].price: required, but missing; expected a number"],
    ),
    # several
    (
        Offer,
        '{"gpu": "x", "price": 1} or {"gpu": "y", "price": 1}',
        [
            'the answer: expected one value, got 2 that fit: {"gpu":"x","price":1} and '
            '{"gpu":"y","price":1}'
        ],
    ),
    (
        list[int],
        'As in [1]: {"answer": [3]}',
        ["the answer: expected one value, got 2 that fit: [1] and [3]"],
    ),
    (
        int,
        "```\n3\n```\n```\n4\n```",
        ["the answer: expected one value, got 2 that fit: 3 and 4"],
    ),
    (
        Offer,
        '{"gpu": "x", "gpu": "y", "price": 1}',
        ['the answer: expected each key once, got the key "gpu" with different values'],
    ),
    # the one that most was written for
    (
        Offer,
        '{"a": 1} {"gpu": "x"} [1]',
        ["price: required, but missing; expected a number"],
    ),
    # broken
    (
        Offer,
        '{"gpu": "x", "price": 1',
        [
            "the answer: expected JSON, which is broken at line 1 column 24: Expecting ',' "
            'delimiter, near ", \\"price\\": 1"'
        ],
    ),
    (
        Offer,
        'So:\n{"gpu": "x" "price": 1}',
        [
            "the answer: expected JSON, which is broken at line 2 column 13: Expecting ',' "
            'delimiter, near "{\\"gpu\\": \\"x\\" \\"price\\": 1}"'
        ],
    ),
]


@pytest.mark.parametrize(("output_type", "text", "lines"), REFUSED, ids=repr)
def test_refused(output_type: Any, text: str, lines: list[str]) -> None:
    assert list(problems(output_type, text)) == lines


NO_GUESS: list[tuple[Any, str]] = [
    (Offer, "{'gpu': 'x', 'gpu': 'y', 'price': 1}"),  # a repair keeps the last of them
    (Offer, '{"offer": {"gpu": "x", "price": 1}}'),  # inside of another value
    (Offer, '{"offer": {"gpu": "x", "price": 1} "n": 2}'),  # inside of a broken one
    (Offer, '{"gpu": "x", "price": 1e999}'),
    (Offer, '{"gpu": "x", "price": NaN}'),
    (Offer | Colour, '{"answer": {"gpu": "x", "price": 1}'),  # cut, perhaps
    (Tree, '```\n{"value": 1, "children": [{"value": 2}]\n```'),
    (Colour, "Red"),
    (Colour, "red green"),
    (Colour, "red\ngreen"),
    (int, "about 3"),
    (bool, "yes"),
    (str | None, 'It is {"answer": Paris}'),
    (str | None, '{"answer": "Par'),
    (Person | str, '{"name": "x"}'),
]


@pytest.mark.parametrize(("output_type", "text"), NO_GUESS, ids=repr)
def test_nothing_is_guessed(output_type: Any, text: str) -> None:
    problems(output_type, text)


def test_many_problems_are_cut() -> None:
    text = "[" + ",".join(['{"gpu": 1}'] * 20) + "]"
    lines = problems(list[Offer], text)
    assert len(lines) == 11
    assert lines[-1] == "and 30 more"


def test_a_long_value_is_told_in_short() -> None:
    (line,) = problems(Offer, "word " * 1000)
    assert len(line) < 200


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 50_000, "{a: " * 50_000, "```\n" * 9999])
def test_a_hostile_text_is_refused_soon(text: str) -> None:
    problems(Offer, text)


def test_equal_keys_say_one_thing() -> None:
    text = '{"gpu": "x", "price": 1, "gpu": "x"}'
    assert AnswerSpec.of(Offer).read(text) == X
