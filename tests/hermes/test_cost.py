"""The cost of a message is linear in its length, whatever the text."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ling_agent.hermes import CallFailed, ParserEvent

from .support import TOOLS, events_of, tool


def seconds(pieces: list[str], **options: Any) -> float:
    def once() -> float:
        start = time.process_time()
        events: list[ParserEvent] = events_of(pieces, **options)
        assert not any(isinstance(event, CallFailed) and not event.message for event in events)
        return time.process_time() - start

    return min(once() for _ in range(3))


@pytest.mark.parametrize(
    "unit",
    [
        *("<", " ", "`", "```\n", "{", "[", '"', "\\", "'", "<tool_call>", "</tool_call>"),
        *("<tool_call>{'", '<tool_call>{\\"</tool_call>', "<tool_call>a <arg_key>", "<tools>{"),
        *('<tools>{"name": "get_time", "arguments": {"a": "', "<tool_call>{", "<think>", "<|im_st"),
        *(
            '<tool_call>{"name": "f"}   ',
            "<tool_call>f<arg_key>",
            "<function=get_time><parameter=x>",
        ),
        *("<tool_call>{bad <think>x<tool_call></think>",),
        *('{"name": "get_time", "arguments": {}}\n', '<tool_call>{"a": "}</tool_call>', "}\n"),
    ],
)
def test_hostile_text_costs_no_more_than_linear_time(unit: str) -> None:
    """Sixteen times the text: about sixteen times the time, where quadratic would be 256."""
    options: dict[str, Any] = {"tools": TOOLS, "bare_json": True}
    small = list(unit * (2_000 // len(unit)))
    large = list(unit * (32_000 // len(unit)))
    assert seconds(large, **options) < 60 * seconds(small, **options) + 0.05


def test_a_key_without_quotes_costs_no_more_than_linear_time() -> None:
    small, large = (["<tool_call>{", *("a" * size)] for size in (8_000, 256_000))
    assert seconds(large) < 60 * seconds(small) + 0.05


def test_many_calls_in_one_piece_cost_no_more_than_linear_time() -> None:
    """What is left of the text must not be copied at each call."""
    call = '<tool_call>{"name": "f", "arguments": {}}</tool_call>,'
    small, large = ([call * count] for count in (1_000, 40_000))
    assert seconds(large) < 60 * seconds(small)


def test_the_call_of_an_unknown_tool_costs_what_any_other_does() -> None:
    """Its name is looked up once, however many tools and chunks there are."""
    tools = [tool(f"tool_{number}", {}) for number in range(500)]
    chunks = [*('<tool_call>{"name": "nope", "arguments": {"a": ["'), *["1, "] * 20_000]
    assert seconds(chunks, tools=tools) < 1.0
