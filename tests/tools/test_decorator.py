"""`tool`, `Tool` and `Toolset`: options, names, order, errors."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest

from ling_agent.errors import ConfigurationError
from ling_agent.tools import Tool, Toolset, tool


def search(query: str, limit: int = 3) -> str:
    """Search."""
    return query * limit


def test_bare_with_options_and_as_a_function() -> None:
    @tool
    def bare(a: int) -> int:
        return a + 1

    @tool(name="other", description="Text.", timeout=2, retries=1, exclusive=True)
    def with_options(a: int) -> int:
        return a + 2

    direct = tool(search, name="find", idempotent=True, max_result_tokens=9)
    assert (bare.name, bare.timeout, bare.retries, bare.requires_approval) == (
        "bare",
        None,
        0,
        False,
    )
    assert (with_options.name, with_options.description) == ("other", "Text.")
    assert (with_options.timeout, with_options.retries, with_options.exclusive) == (2, 1, True)
    assert (direct.name, direct.idempotent, direct.max_result_tokens) == ("find", True, 9)


def test_a_tool_is_still_the_function() -> None:
    made = tool(search)
    assert made("ab", limit=2) == "abab"
    assert str(inspect.signature(made)) == str(inspect.signature(search))
    assert made.__doc__ == "Search."


async def fetch(url: str) -> str:
    return url


@pytest.mark.anyio
async def test_an_async_tool_is_still_awaited() -> None:
    assert await tool(fetch)("x") == "x"


def test_a_tool_is_immutable() -> None:
    made = tool(search)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.name = "other"  # pyright: ignore[reportAttributeAccessIssue]


def test_approval_may_be_a_predicate() -> None:
    made = tool(search, requires_approval=lambda arguments: arguments["limit"] > 5)
    assert made.needs_approval({"query": "x", "limit": 6})
    assert made.needs_approval({"query": "x", "limit": "6"})  # read as the function would get it
    assert not made.needs_approval({"query": "x", "limit": 2})
    assert not made.needs_approval({"query": "x"})  # the default counts
    assert not made.needs_approval({"limit": 6})  # does not fit, so it never runs
    assert tool(search, requires_approval=True).needs_approval({})
    assert not tool(search).needs_approval({"query": "x"})


def test_a_predicate_that_fails_asks_a_person() -> None:
    made = tool(search, requires_approval=lambda arguments: arguments["lmit"] > 5)
    assert made.needs_approval({"query": "x"})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "two words"}, "cannot be a tool's name"),
        ({"name": ""}, "cannot be a tool's name"),
        ({"name": "x" * 65}, "cannot be a tool's name"),
        ({"timeout": 0}, "timeout is in seconds"),
        ({"retries": -1}, "retries is 0 or more"),
        ({"max_result_tokens": 0}, "max_result_tokens is 1 or more"),
    ],
)
def test_bad_options(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        tool(search, **options)


def test_a_tool_is_not_decorated_twice() -> None:
    with pytest.raises(ConfigurationError, match="'search' is a tool already"):
        tool(tool(search))


def test_a_toolset_is_sorted_by_name_whatever_the_order() -> None:
    first = Toolset([search, fetch])
    second = Toolset([tool(fetch), tool(search)])
    assert first.names == second.names == ("fetch", "search")
    assert first.schemas == second.schemas
    assert [item["function"]["name"] for item in first.schemas] == ["fetch", "search"]
    assert [item.name for item in first] == ["fetch", "search"]
    assert (len(first), "fetch" in first, "x" in first) == (2, True, False)
    assert first["search"].name == "search"


def test_one_name_twice_names_both_functions() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Toolset([search, tool(fetch, name="search")])
    message = str(caught.value)
    assert "two tools are named 'search'" in message
    assert "test_decorator.search" in message
    assert "test_decorator.fetch" in message
    assert "\n" not in message


def test_one_tool_twice() -> None:
    made = tool(search)
    with pytest.raises(ConfigurationError, match="given twice"):
        Toolset([made, made])


def test_unknown_names_get_the_nearest_and_the_list() -> None:
    tools = Toolset([search, fetch])
    assert (
        tools.unknown_message("serch")
        == "There is no tool 'serch'. Nearest: search. Tools: fetch, search."
    )
    assert tools.unknown_message("Search").startswith("There is no tool 'Search'. Nearest: search.")
    assert tools.unknown_message("zzz") == "There is no tool 'zzz'. Tools: fetch, search."
    assert Toolset().unknown_message("a") == "There is no tool 'a': no tools are available."
    assert len(tools.unknown_message("x" * 5_000)) < 200


def test_from_schema_keeps_the_schema_and_not_the_callers_object() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}}
    made = Tool.from_schema("raw", "Raw.", schema, search, timeout=3)
    schema["properties"]["a"]["type"] = "string"
    assert made.parameters == {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert (made.description, made.timeout) == ("Raw.", 3)


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ("object", "as a dict, not str"),
        (None, "as a dict, not NoneType"),
        ({"type": "array"}, "of type 'object', not 'array'"),
        ({"type": "object", "properties": {"a": {"type": "whole"}}}, "properties/a/type"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}}, "'#/\\$defs/b'"),
        (
            {"type": "object", "properties": {"a": {"$ref": "https://example.org/s.json"}}},
            "refers to 'https://example.org/s.json', which is not in it",
        ),
    ],
)
def test_a_broken_raw_schema_is_refused_at_once(schema: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Tool.from_schema("raw", "", schema, search)
