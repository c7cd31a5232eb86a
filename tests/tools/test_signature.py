"""What cannot be a tool, and what the refusal says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from ling_agent.errors import ConfigurationError
from ling_agent.tools import RunContext, tool

if TYPE_CHECKING:
    from decimal import Decimal


class Filter(BaseModel):
    title: str


def bare_parameter(query, limit: int = 3) -> None:  # pyright: ignore
    ...


def star_args(*queries: str) -> None: ...


def unresolved(a: Decimal) -> None: ...


def no_json(a: Callable[[int], int]) -> None: ...


def generator(a: int) -> Any:
    yield a


REFUSED: list[tuple[Any, str]] = [
    (bare_parameter, r"test_signature\.bare_parameter: .*'query' has no annotation.*'query: str'"),
    (star_args, r"'\*queries' cannot be filled; take a list.*'queries: list\[str\]'"),
    (unresolved, r"annotation of 'a' \(Decimal\) cannot be resolved.*TYPE_CHECKING"),
    (no_json, "without a JSON form"),
    (generator, "is a generator; return a list"),
    (lambda: 1, "a lambda has no name"),
    (Filter, "'Filter' is a class"),
    (3, "an object of type int is not a function"),
]


@pytest.mark.parametrize(("f", "says"), REFUSED)
def test_what_cannot_be_a_tool_is_refused_in_one_line(f: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        tool(f)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_an_undecorated_self_is_explained() -> None:
    class Shop:
        def find(self, name: str) -> str:
            return name

    with pytest.raises(ConfigurationError, match="decorate the bound method"):
        tool(Shop.find)


def test_two_contexts_are_refused() -> None:
    def f(a: RunContext[None], b: RunContext[None]) -> None: ...

    with pytest.raises(ConfigurationError, match="both RunContext"):
        tool(f)
