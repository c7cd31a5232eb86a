"""From a signature and a docstring to the schema that the model sees."""

from __future__ import annotations

import dataclasses
import functools
import sys
import typing
import warnings
from collections.abc import Callable
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired

import pytest
from pydantic import BaseModel, Field, create_model
from typing_extensions import TypedDict

from ling_agent.errors import ConfigurationError
from ling_agent.tools import RunContext, Tool, tool

if TYPE_CHECKING:
    from decimal import Decimal


class Currency(Enum):
    USD = "usd"
    EUR = "eur"


class Filter(BaseModel):
    """What to keep."""

    title: str
    max_price: float | None = Field(default=None, ge=0)


@dataclasses.dataclass
class Region:
    code: str
    nearby: bool = True


class Page(TypedDict):
    number: int
    size: NotRequired[int]


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


GOOGLE = """Search offers.

    Only offers of the last day are searched.

    Args:
        keep: What to keep.
        currency: Currency of the prices.
        region: Where to look,
            everywhere by default.
        limit: Most offers.
        order (str): Sort key.
        ids: Only these.

    Returns:
        The offers.
    """
NUMPY = """Search offers.

    Only offers of the last day are searched.

    Parameters
    ----------
    keep : Filter
        What to keep.
    currency : Currency
        Currency of the prices.
    region : Region, optional
        Where to look,
        everywhere by default.
    limit : int
        Most offers.
    order : str
        Sort key.
    ids : tuple of int
        Only these.

    Returns
    -------
    list
        The offers.
    """
SPHINX = """Search offers.

    Only offers of the last day are searched.

    :param keep: What to keep.
    :param Currency currency: Currency of the prices.
    :param region: Where to look,
        everywhere by default.
    :param limit: Most offers.
    :param order: Sort key.
    :type order: str
    :param ids: Only these.
    :returns: The offers.
    """

AWKWARD: dict[str, Any] = {
    "type": "object",
    "properties": {
        "keep": {
            "type": "object",
            "description": "What to keep.",
            "properties": {
                "title": {"type": "string"},
                "max_price": {
                    "anyOf": [{"type": "number", "minimum": 0}, {"type": "null"}],
                    "default": None,
                },
            },
            "required": ["title"],
        },
        "currency": {
            "type": "string",
            "description": "Currency of the prices.",
            "enum": ["usd", "eur"],
        },
        "region": {
            "description": "Where to look, everywhere by default.",
            "anyOf": [
                {
                    "type": "object",
                    "properties": {
                        "code": {"type": "string"},
                        "nearby": {"type": "boolean", "default": True},
                    },
                    "required": ["code"],
                    "additionalProperties": False,
                },
                {"type": "null"},
            ],
            "default": None,
        },
        "limit": {"type": "integer", "description": "Most offers.", "minimum": 1, "default": 10},
        "order": {
            "type": "string",
            "description": "Sort key.",
            "enum": ["price", "age"],
            "default": "price",
        },
        "ids": {
            "type": "array",
            "description": "Only these.",
            "items": {"type": "integer"},
            "default": [],
        },
    },
    "required": ["keep", "currency"],
    "additionalProperties": False,
}


def awkward(docstring: str) -> Callable[..., str]:
    def search(
        keep: Filter,
        currency: Currency,
        region: Region | None = None,
        limit: Annotated[int, Field(ge=1)] = 10,
        *,
        order: Literal["price", "age"] = "price",
        ids: tuple[int, ...] = (),
    ) -> str:
        return f"{keep} {currency} {region} {limit} {order} {ids}"

    search.__doc__ = docstring
    return search


@pytest.mark.parametrize("docstring", [GOOGLE, NUMPY, SPHINX], ids=["google", "numpy", "sphinx"])
def test_the_awkward_signature(docstring: str) -> None:
    made = tool(awkward(docstring))
    assert made.parameters == AWKWARD
    assert made.description == "Search offers.\n\nOnly offers of the last day are searched."


def properties(f: Callable[..., Any]) -> dict[str, Any]:
    return tool(f).parameters["properties"]


def test_no_docstring_and_no_parameters() -> None:
    def ping() -> str:
        return "pong"

    assert tool(ping).openai_schema() == {
        "type": "function",
        "function": {
            "name": "ping",
            "description": "",
            "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
        },
    }


def test_typed_dict_unions_and_int_enum() -> None:
    class Level(IntEnum):
        low = 1
        high = 2

    def f(page: Page, key: int | str, level: Level = Level.low) -> None: ...

    assert properties(f) == {
        "page": {
            "type": "object",
            "properties": {"number": {"type": "integer"}, "size": {"type": "integer"}},
            "required": ["number"],
            "additionalProperties": False,
        },
        "key": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        "level": {"type": "integer", "enum": [1, 2], "default": 1},
    }


def test_recursive_models_keep_their_definition() -> None:
    def f(tree: Tree) -> None: ...

    assert tool(f).parameters == {
        "type": "object",
        "properties": {"tree": {"$ref": "#/$defs/Tree"}},
        "required": ["tree"],
        "additionalProperties": False,
        "$defs": {
            "Tree": {
                "type": "object",
                "properties": {
                    "value": {"type": "integer"},
                    "children": {
                        "type": "array",
                        "items": {"$ref": "#/$defs/Tree"},
                        "default": [],
                    },
                },
                "required": ["value"],
            }
        },
    }


def test_definitions_that_double_at_each_level_stay_shared() -> None:
    kind: Any = int
    for _ in range(14):
        kind = create_model("Level", a=(kind, ...), b=(kind, ...))

    def f(x: int) -> None: ...

    f.__annotations__["x"] = kind
    assert len(str(tool(f).parameters)) < 20_000


def test_text_in_the_annotation_wins_over_the_docstring() -> None:
    def f(a: Annotated[int, Field(description="from Field")], b: Annotated[int, "plain"]) -> None:
        """F.

        Args:
            a: from the docstring
            b: from the docstring
        """

    assert properties(f) == {
        "a": {"type": "integer", "description": "from Field"},
        "b": {"type": "integer", "description": "plain"},
    }


def test_default_inside_field() -> None:
    def f(
        a: Annotated[int, Field(default=3)],
        b: Annotated[list[int], Field(default_factory=list)],
        c: int = Field(default=5, le=9),
        d: int = Field(ge=2),
    ) -> str:
        return f"{a}{b}{c}{d}"

    made = tool(f)
    assert made.parameters["required"] == ["d"]
    assert made.parameters["properties"]["c"] == {"type": "integer", "maximum": 9, "default": 5}
    assert made.validate({"d": 2}).arguments == {"a": 3, "b": [], "c": 5, "d": 2}


def test_a_default_without_a_json_form_is_only_left_out() -> None:
    marker: Any = object()

    def f(a: int = marker) -> None: ...

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tool(f).parameters == {
            "type": "object",
            "properties": {"a": {"type": "integer"}},
            "additionalProperties": False,
        }


@pytest.mark.parametrize("default", [float("nan"), float("inf"), "\ud800", [float("-inf")]])
def test_a_default_that_no_request_can_carry_is_left_out(default: Any) -> None:
    def f(x: Any = default) -> None: ...

    assert Tool.from_function(f).parameters["properties"] == {"x": {}}


def test_a_default_set_is_in_one_order() -> None:
    words = {f"word {number}" for number in range(20)}

    def f(x: set[str] = words) -> None: ...

    assert Tool.from_function(f).parameters["properties"]["x"]["default"] == sorted(words)


class Size(typing.TypedDict, total=False):
    """How large."""

    width: typing.Required[int]
    height: Annotated[int, Field(ge=1)]


class Box(typing.TypedDict):
    sizes: list[Size]
    label: typing.NotRequired[str | None]


def test_the_typed_dict_of_typing_works_on_every_python() -> None:
    class Local(typing.TypedDict):
        box: Box

    def f(
        a: Size, b: list[Local] | None = None, c: Annotated[Box | None, "text"] = None
    ) -> None: ...

    made = Tool.from_function(f)
    size = {
        "type": "object",
        "description": "How large.",
        "properties": {"width": {"type": "integer"}, "height": {"type": "integer", "minimum": 1}},
        "required": ["width"],
        "additionalProperties": False,
    }
    box = {
        "type": "object",
        "properties": {
            "sizes": {"type": "array", "items": size},
            "label": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
        "required": ["sizes"],
        "additionalProperties": False,
    }
    assert made.parameters["properties"]["a"] == size
    items = made.parameters["properties"]["b"]["anyOf"][0]["items"]
    assert items["properties"] == {"box": box}
    assert made.parameters["properties"]["c"]["anyOf"][0] == box
    assert made.parameters["properties"]["c"]["description"] == "text"
    arguments = {"a": {"width": 1}, "b": [{"box": {"sizes": [{"width": 2, "height": 3}]}}]}
    assert made.validate(arguments).arguments == {**arguments, "c": None}


class Node(typing.TypedDict):
    inner: Node | None


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="pydantic takes it there")
def test_a_typed_dict_that_holds_itself_names_the_import_to_change() -> None:
    def f(node: Node) -> None: ...

    with pytest.raises(ConfigurationError, match=r"typing_extensions\.TypedDict") as caught:
        Tool.from_function(f)
    assert "\n" not in str(caught.value)


def test_numpy_names_may_share_a_text_and_a_summary_may_have_two_lines() -> None:
    def f(x: int, y: int) -> None:
        """Move the pointer
        to a place.

        Parameters
        ----------
        x, y : int
            Pixels.
        """

    made = Tool.from_function(f)
    assert made.description == "Move the pointer\nto a place."
    assert made.parameters["properties"]["x"]["description"] == "Pixels."
    assert made.parameters["properties"]["y"]["description"] == "Pixels."


def test_extra_keywords() -> None:
    def any_extra(a: int, **rest: Any) -> None: ...

    def typed_extra(**rest: int) -> None: ...

    assert tool(any_extra).parameters["additionalProperties"] is True
    assert tool(typed_extra).parameters["additionalProperties"] == {"type": "integer"}


def test_the_context_is_not_in_the_schema() -> None:
    class Deps: ...

    def first(ctx: RunContext[Deps], a: int) -> None: ...

    def bare(ctx: RunContext, a: int) -> None: ...  # pyright: ignore[reportMissingTypeArgument, reportUnknownParameterType]

    def hidden(ctx: RunContext[Decimal], a: int) -> None: ...

    tools: list[Any] = [first, bare, hidden]
    for f in tools:
        assert list(properties(f)) == ["a"]


def test_local_types_under_postponed_annotations() -> None:
    class Inner(BaseModel):
        x: int

    @dataclasses.dataclass
    class Outer:
        inner: Inner

    @tool
    def f(outer: Outer) -> int:
        return outer.inner.x

    result = f.validate({"outer": {"inner": {"x": 1}}})
    assert result.arguments == {"outer": Outer(Inner(x=1))}


def test_methods_partials_and_callable_objects() -> None:
    class Shop:
        def find(self, name: str, limit: int = 3) -> str:
            """Find it.

            Args:
                name: What.
            """
            return f"{name}{limit}"

        def __call__(self, name: str) -> str:
            """Call it."""
            return name

    name = {"type": "string", "description": "What."}
    method = tool(Shop().find)
    assert (method.name, method.description) == ("find", "Find it.")
    assert method.parameters["properties"]["name"] == name
    partial: Tool[..., str] = tool(functools.partial(Shop().find, limit=9))
    assert (partial.name, partial.parameters["properties"]) == ("find", {"name": name})
    callable_object = tool(Shop(), name="shop")
    assert callable_object.description == "Call it."
    assert list(callable_object.parameters["properties"]) == ["name"]


def test_positional_only_parameters_are_passed_by_position() -> None:
    def f(a: int, b: int = 2, /, *, c: int = 3) -> str:
        return f"{a}{b}{c}"

    made = tool(f)
    assert made.parameters["required"] == ["a"]
    assert made.invoke(made.validate({"a": 1}).arguments, None) == "123"


def test_the_schema_is_the_same_each_time() -> None:
    assert str(tool(awkward(GOOGLE)).parameters) == str(tool(awkward(GOOGLE)).parameters)
