"""Any value is read back from what it is written as; any text is a value, or an `AnswerError`."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter
from typing_extensions import TypedDict

from ling_agent.answers import AnswerError, AnswerSpec


class Colour(Enum):
    red = "red"
    green = "green"


@dataclass(frozen=True)
class Offer:
    gpu: str
    price: float
    tags: tuple[str, ...] = ()


class Person(BaseModel):
    name: str
    born: dt.date | None
    likes: set[Colour] = set()


class Point(TypedDict):
    x: int
    y: Literal["up", "down", 3]


texts = st.text(max_size=12) | st.sampled_from(["```", '{"answer": 1}', "</think>", "a\nb", '"'])
numbers = st.integers(-(2**60), 2**60)
floats = st.floats(allow_nan=False, allow_infinity=False)
colours = st.sampled_from(Colour)
offers = st.builds(Offer, texts, floats, st.lists(texts, max_size=2).map(tuple))
people = st.builds(Person, name=texts, born=st.none() | st.dates(), likes=st.sets(colours))
points = st.fixed_dictionaries({"x": numbers, "y": st.sampled_from(["up", "down", 3])})

OBJECTS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "dataclass": (Offer, offers),
    "model": (Person, people),
    "TypedDict": (Point, points),
    "dict": (dict[str, Offer], st.dictionaries(texts, offers, max_size=3)),
}
OTHERS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "int": (int, numbers),
    "float": (float, floats),
    "bool": (bool, st.booleans()),
    "Enum": (Colour, colours),
    "Literal": (Literal["a", "b c", 3, None], st.sampled_from(["a", "b c", 3, None])),
    "date": (dt.date, st.dates()),
    "optional": (int | None, st.none() | numbers),
    "text or none": (str | None, st.none() | texts),
    "union": (Offer | Person | Colour, offers | people | colours),
    "list": (list[Offer | None], st.lists(st.none() | offers, max_size=3)),
    "tuple": (tuple[int, Colour], st.tuples(numbers, colours)),
    "set": (set[int], st.sets(numbers, max_size=4)),
    "list of lists": (list[list[int]], st.lists(st.lists(numbers, max_size=3), max_size=3)),
}
EVERY = OBJECTS | OTHERS
SPECS = {name: AnswerSpec.of(kind) for name, (kind, _) in EVERY.items()}
ADAPTERS: dict[str, TypeAdapter[Any]] = {
    name: TypeAdapter(kind) for name, (kind, _) in EVERY.items()
}

prose = st.text("abc XYZ,.!?:\n", max_size=20)
indents = st.sampled_from([None, 2])


def dumped(name: str, value: Any, *, indent: int | None = None, escape: bool = False) -> str:
    """The value as a model is asked to write it."""
    inner = json.loads(ADAPTERS[name].dump_json(value))
    return json.dumps(
        inner if name in OBJECTS else {"answer": inner}, indent=indent, ensure_ascii=escape
    )


def bare(name: str, value: Any) -> str:
    return ADAPTERS[name].dump_json(value).decode()


def check(name: str, text: str) -> None:
    """A text is either a value of the type, which is read back, or refused with reasons."""
    lines: tuple[str, ...] = ()
    try:
        value = SPECS[name].read(text)
    except AnswerError as error:
        lines = error.problems
    else:
        assert SPECS[name].read(dumped(name, value)) == value
        return
    assert lines
    assert all(line and "\n" not in line for line in lines)


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_is_written_reads_back(name: str, data: st.DataObject) -> None:
    value = data.draw(EVERY[name][1])
    text = dumped(name, value, indent=data.draw(indents), escape=data.draw(st.booleans()))
    before, after = data.draw(prose), data.draw(prose)
    shown = data.draw(
        st.sampled_from(
            [
                text,
                bare(name, value),
                f"{before}{text}{after}",
                f"{before}\n```json\n{text}\n```\n{after}",
                f"{before}\n```\n{bare(name, value)}\n```\n{after}",
                f"{text}\n{before}\n{text}",
            ]
        )
    )
    read = SPECS[name].read(shown)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_two_values_are_refused(name: str, data: st.DataObject) -> None:
    strategy = EVERY[name][1]
    one, other = data.draw(strategy), data.draw(strategy)
    assume(one != other)
    text = f"{dumped(name, one)}{data.draw(prose)}\n{dumped(name, other)}"
    with pytest.raises(AnswerError, match=r"^the answer: expected one value, got 2 that fit: "):
        SPECS[name].read(text)


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_text_is_read_as_the_type_or_refused(name: str, data: st.DataObject) -> None:
    text = dumped(name, data.draw(EVERY[name][1]))
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 3))
    damaged = text[:at] + data.draw(st.text("{}[]\"',:`a1 \n\\", max_size=3)) + text[at + cut :]
    check(name, damaged)


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=60, deadline=None)
@given(text=st.text() | st.text("{}[]\"':,` \n01tfnae\\", max_size=40))
def test_any_text_is_read_as_the_type_or_refused(name: str, text: str) -> None:
    check(name, text)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["x", "y", "z"]), numbers | st.just("no number"), max_size=3)
)
def test_another_object_is_refused_with_each_of_its_faults(given: dict[str, Any]) -> None:
    fits = given.keys() == {"x", "y"} and isinstance(given["x"], int) and given["y"] == 3
    assume(not fits)
    with pytest.raises(AnswerError) as caught:
        SPECS["TypedDict"].read(json.dumps(given))
    named = {line.partition(":")[0] for line in caught.value.problems}
    missing = {"x", "y"} - given.keys()
    assert missing <= named
    assert ("z" in named) == ("z" in given)
