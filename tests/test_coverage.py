"""How much of a request calls take up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ling_agent.coverage import taken_up
from ling_agent.grounding import Conversation


def counted(request: str, *arguments: dict[str, Any], said: str = "") -> int:
    calls = [{"name": "find", "arguments": each} for each in arguments]
    return taken_up(calls, request, Conversation([request, said]))


@pytest.mark.parametrize(
    ("request_text", "arguments", "count"),
    [
        ("Flights to Oslo", [{"to": "Oslo"}], 1),
        ("Flights to Oslo", [{"to": "Rome"}], -1),
        ("Flights to Oslo for 2", [{"to": "Oslo"}], 1),
        ("Flights to Oslo for 2", [{"to": "Oslo", "seats": 2}], 2),
        ("Flights to Oslo for 2", [{"to": "Oslo", "seats": 3}], 0),
        ("Weather in Oslo and Rome", [{"city": "Oslo"}, {"city": "Rome"}], 2),
        ("Weather in Oslo and Rome", [{"city": "Oslo"}, {"city": "Oslo"}], 1),
        ("Pay 5 percent", [{"rate": 0.05}], 1),
        ("Ask for it", [{"on": True}], 0),
        ("Find it. Then stop", [{"what": "then"}], 0),
        ("", [], 0),
    ],
)
def test_numbers_and_names_count_and_inventions_count_against_it(
    request_text: str, arguments: list[dict[str, Any]], count: int
) -> None:
    assert counted(request_text, *arguments) == count


def test_what_was_said_before_is_no_invention() -> None:
    assert counted("And there?", {"city": "Oslo"}) == -1
    assert counted("And there?", {"city": "Oslo"}, said="I live in Oslo.") == 0


@given(st.text(max_size=60), st.dictionaries(st.text(max_size=5), st.text(max_size=20)))
def test_any_text_can_be_counted(request: str, arguments: dict[str, str]) -> None:
    assert -len(arguments) <= counted(request, arguments)
