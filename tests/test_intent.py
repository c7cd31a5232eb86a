"""A message that talks about a call, and one that does not: a wrong yes would force a call."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ling_agent.intent import announced_tool, shows_call

NAMES = ("search_offers", "rent", "get_time")


@pytest.mark.parametrize(
    ("text", "tool"),
    [
        ("I will use search_offers to find the cheapest.", "search_offers"),
        ("I'll call `search_offers` now.", "search_offers"),
        ("I’ll call search_offers now.", "search_offers"),
        ("Let me check with get_time.", "get_time"),
        ("Let's call get_time.", "get_time"),
        ("We need to search first.\nCalling search_offers...", "search_offers"),
        ("I am going to rent it with rent.", "rent"),
        ("There are many. I should use search_offers first.", "search_offers"),
        ('```\nsearch_offers(gpu="RTX 4090")\n```', "search_offers"),
        ("search_offers (gpu=1)", "search_offers"),
        ("我将使用 search_offers 来查找。", "search_offers"),
        ("好的。现在调用 get_time。", "get_time"),
    ],
)
def test_what_announces_a_call(text: str, tool: str) -> None:
    assert announced_tool(text, NAMES) == tool


@pytest.mark.parametrize(
    "text",
    [
        "",
        "It costs $0.35 per hour.",
        "I will look for it.",
        "I used search_offers and found three.",
        "search_offers found three offers.",
        "I cannot use search_offers for that.",
        "I will not call search_offers again.",
        "I don't need to call search_offers.",
        "If you like, I will use rent.",
        "I will use search_offers_v2.",
        "I will use my-search_offers.",
        "I will pay the current rental.",
        "我无法使用 search_offers。",
        "I will use search_offers first. It said three. Two are cheap. One is dear. Take that one.",
    ],
)
def test_what_does_not(text: str) -> None:
    assert announced_tool(text, NAMES) is None


def test_the_last_announcement_counts() -> None:
    text = "I will use search_offers, then more. Then I will use rent."
    assert announced_tool(text, NAMES) == "rent"


def test_without_tools_nothing_is_announced() -> None:
    assert announced_tool("I will use search_offers.", ()) is None


def test_names_are_not_patterns() -> None:
    assert announced_tool("I will use axb.", ["a.b"]) is None
    assert announced_tool("I will use a.b now.", ["a.b"]) == "a.b"
    assert announced_tool("I will use a+b(1).", ["a+b"]) == "a+b"


@given(st.text(), st.lists(st.text(min_size=1), max_size=3))
def test_any_text_is_looked_at(text: str, names: list[str]) -> None:
    assert announced_tool(text, names) in (None, *names)


@pytest.mark.parametrize("piece", ["a", "I will ", "search_offers", "(", ". ", "\n", "!?"])
def test_a_long_text_takes_no_time(piece: str) -> None:
    started = time.perf_counter()
    announced_tool(piece * 200_000, NAMES)
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    "text",
    [
        'Here is the call:\n{"name": "search_offers", "arguments": {"gpu": "H100"}}',
        "You can use the `search_offers` function for this.",
        "offers = search_offers(gpu='H100')",
    ],
)
def test_a_text_that_shows_a_call(text: str) -> None:
    assert shows_call(text, ["other", "search_offers"])


@pytest.mark.parametrize(
    "text",
    ["I did search_offers already.", "The price is 3 USD.", "Is `search_offers2` one?", ""],
)
def test_a_text_that_shows_none(text: str) -> None:
    assert not shows_call(text, ["search_offers", "price"])
