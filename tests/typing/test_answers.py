"""What a type checker infers of typed answers: `assert_type` is checked by pyright, and runs."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Literal, assert_type

from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from ling_agent.answers import AnswerError, AnswerSpec


@dataclass
class Offer:
    price: float


class Person(BaseModel):
    name: str


class Point(TypedDict):
    x: int


class Colour(Enum):
    red = "red"


def test_a_class_is_its_own_answer() -> None:
    assert_type(AnswerSpec.of(str), AnswerSpec[str])
    assert_type(AnswerSpec.of(str).read(""), str)
    assert_type(AnswerSpec.of(Offer), AnswerSpec[Offer])
    assert_type(AnswerSpec.of(Offer).read('{"price": 1}'), Offer)
    assert_type(AnswerSpec.of(Person).read('{"name": "x"}'), Person)
    assert_type(AnswerSpec.of(Point).read('{"x": 1}'), Point)
    assert_type(AnswerSpec.of(Colour).read("red"), Colour)
    assert_type(AnswerSpec.of(dt.date).read("2026-01-31"), dt.date)
    assert_type(AnswerSpec.of(int).read("3"), int)
    assert_type(AnswerError(("price: required, but missing",)).problems, tuple[str, ...])


def test_what_is_no_class_is_inferred_too() -> None:
    assert_type(AnswerSpec.of(list[Offer]).read("[]"), list[Offer])
    assert_type(AnswerSpec.of(dict[str, int]).read("{}"), dict[str, int])
    assert_type(AnswerSpec.of(tuple[int, str]).read('[1, "a"]'), tuple[int, str])
    assert_type(AnswerSpec.of(int | None).read("null"), int | None)
    assert_type(AnswerSpec.of(Offer | Person).read('{"price": 1}'), Offer | Person)
    assert_type(AnswerSpec.of(Literal["a", 3]).read("a"), Literal["a", 3])
    assert_type(AnswerSpec.of(Annotated[int, Field(gt=2)]).read("3"), int)


def read_with(spec: AnswerSpec[Offer]) -> Offer:
    return spec.read('{"price": 1}')


def test_a_spec_of_another_type_is_none_of_this_one() -> None:
    assert read_with(AnswerSpec.of(Offer)) == Offer(1)
    assert not isinstance(AnswerSpec.of(Point).read('{"x": 1}'), Offer)
    if not __debug__:  # never run, always checked
        read_with(AnswerSpec.of(Person))  # pyright: ignore[reportArgumentType]
