"""What an output type asks for: its schema, its hint, and which types there are none for."""

from __future__ import annotations

import datetime as dt
import functools
import json
import math
import os
import subprocess
import sys
import typing
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, NamedTuple

import jsonschema
import pytest
from pydantic import BaseModel, Field, RootModel
from typing_extensions import TypedDict

from ling_agent import ConfigurationError
from ling_agent.answers import AnswerSpec


class Colour(Enum):
    red = "red"
    green = "green"


class Level(IntEnum):
    low = 1
    high = 2


@dataclass
class Offer:
    gpu: str
    price: Annotated[float, Field(ge=0)]
    tags: set[str] = field(default_factory=lambda: {"b", "a", "c"})


class Person(BaseModel):
    """Somebody."""

    name: str
    born: dt.date | None = Field(None, description="Day of birth.")


class Node(BaseModel):
    value: int
    children: list[Node] = []


class Point(TypedDict):
    x: int
    y: int


class OldPoint(typing.TypedDict):
    x: int


class Pair(NamedTuple):
    left: int
    right: str


class Numbers(RootModel[list[int]]):
    pass


OBJECTS: list[Any] = [Offer, Person, Node, Point, OldPoint, dict[str, int], dict[str, Offer]]
WRAPPED: list[Any] = [
    *(int, float, bool, Decimal, dt.datetime, uuid.UUID, Colour, Level, Literal["a", 3, True]),
    *(int | None, Offer | Person, Offer | str, list[Person], tuple[int, str], set[int], Pair),
    *(Annotated[int, Field(gt=3)], Annotated[str, Field(pattern="^[A-Z]{3}$")], Numbers, Any, list),
]


def test_text_asks_for_nothing() -> None:
    spec = AnswerSpec.of(str)
    assert (spec.is_text, spec.schema, spec.hint) == (True, None, "")
    assert spec.read(" any {text ") == " any {text "


def schema_of(output_type: Any) -> dict[str, Any]:
    spec = AnswerSpec.of(output_type)
    assert not spec.is_text
    assert spec.schema is not None
    jsonschema.Draft202012Validator.check_schema(spec.schema)
    assert json.loads(json.dumps(spec.schema)) == spec.schema
    return spec.schema


@pytest.mark.parametrize("output_type", OBJECTS, ids=str)
def test_an_object_is_asked_for_as_it_is(output_type: Any) -> None:
    schema = schema_of(output_type)
    assert schema["type"] == "object"
    assert "answer" not in schema.get("properties", {})


@pytest.mark.parametrize("output_type", WRAPPED, ids=str)
def test_what_is_no_object_is_wrapped(output_type: Any) -> None:
    schema = schema_of(output_type)
    assert (schema["type"], schema["required"]) == ("object", ["answer"])
    assert list(schema["properties"]) == ["answer"]
    assert schema["additionalProperties"] is False


def test_the_schema_is_as_short_as_those_of_tools() -> None:
    assert schema_of(Person) == {
        "description": "Somebody.",
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "born": {
                "description": "Day of birth.",
                "anyOf": [{"type": "string", "format": "date"}, {"type": "null"}],
            },
        },
        "required": ["name"],
    }
    assert schema_of(set[int])["properties"]["answer"] == {
        "type": "array",
        "items": {"type": "integer"},
    }
    tree = schema_of(Node)
    assert tree["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}
    assert set(tree["$defs"]) == {"Node"}


@pytest.mark.parametrize("output_type", [*OBJECTS, *WRAPPED], ids=str)
def test_the_hint_has_the_whole_schema_and_stays_the_same(output_type: Any) -> None:
    spec = AnswerSpec.of(output_type)
    text, _, schema = spec.hint.partition("\nIt must fit this JSON schema: ")
    assert json.loads(schema) == spec.schema
    assert len(text) < 300
    assert "JSON" in text
    assert AnswerSpec.of(output_type).hint == spec.hint


@pytest.mark.parametrize(
    ("output_type", "values"),
    [(Colour, ["red", "green"]), (Literal["a", 3, True], ["a", 3, True]), (Literal["x"], ["x"])],
)
def test_the_hint_of_a_choice_says_its_values(output_type: Any, values: list[Any]) -> None:
    shown = " or ".join(json.dumps({"answer": value}, separators=(",", ":")) for value in values)
    assert AnswerSpec.of(output_type).hint.startswith(
        f"Write your final answer as JSON, without any other text: {shown}.\n"
    )


HINT = """
import dataclasses
from ling_agent.answers import AnswerSpec
@dataclasses.dataclass
class Offer:
    tags: set[str] = dataclasses.field(default_factory=lambda: {"b", "a", "c"})
    more: frozenset[str] = frozenset({"d", "e", "f"})
print(AnswerSpec.of(Offer | list[Offer]).hint)
"""


def test_the_hint_is_the_same_in_every_process() -> None:
    hints = {
        subprocess.run(
            [sys.executable, "-c", HINT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(hints) == 1


def test_specs_are_equal_by_their_type() -> None:
    assert AnswerSpec.of(Offer) == AnswerSpec.of(Offer)
    assert AnswerSpec.of(Offer) != AnswerSpec.of(Person)
    assert "Offer" in repr(AnswerSpec.of(Offer))


# -- types without a JSON form --------------------------------------------------------------------


class Opaque:
    pass


def function(x: int) -> int:
    return x


NONSENSE: list[Any] = [
    *(Opaque, function, len, Offer("x", 1.0).__repr__, lambda: 3, functools.partial(function, 1)),
    *(Callable[[int], int], list[Opaque], dict[str, Opaque], "int", 3, None, type(None), math),
    *(
        typing.Iterable[int],
        Offer("x", 1.0),
        (int, str),
        [int],
        {"a": int},
        Ellipsis,
        type[int],
        typing.TypeVar("T"),
    ),
]


@pytest.mark.parametrize("output_type", NONSENSE, ids=repr)
def test_nonsense_is_refused_when_the_agent_is_made(output_type: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        AnswerSpec.of(output_type)
    message = str(caught.value)
    assert message.startswith("output_type ")
    assert "\n" not in message
    assert len(message) < 400


def test_a_name_that_is_not_defined_is_told() -> None:
    @dataclass
    class Lost:
        what: Missing  # noqa: F821  # pyright: ignore[reportUndefinedVariable, reportUnknownVariableType]

    with pytest.raises(ConfigurationError, match="output_type Lost: 'Missing' is not defined"):
        AnswerSpec.of(Lost)


def test_types_inside_a_function_may_use_each_other() -> None:
    @dataclass
    class Seller:
        name: str

    @dataclass
    class Local:
        seller: Seller

    class LocalPoint(typing.TypedDict):
        at: list[Seller]

    assert AnswerSpec.of(list[Local]).read('[{"seller": {"name": "x"}}]') == [Local(Seller("x"))]
    assert AnswerSpec.of(LocalPoint).read('{"at": [{"name": "x"}]}') == {"at": [Seller("x")]}


def test_pydantic_models_are_compiled_only_for_typed_answers() -> None:
    code = (
        "import sys, ling_agent.answers as a; a.AnswerSpec.of(str); "
        "print('ling_agent.answers.form' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
