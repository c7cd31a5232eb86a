"""The cost of a message is linear in its length, whatever the text."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ling_agent.hermes import CallFailed, ParserEvent

from .support import TOOLS, events_of


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
        *('{"name": "get_time", "arguments": {}}\n', '<tool_call>{"a": "}</tool_call>', "}\n"),
    ],
)
def test_hostile_text_costs_no_more_than_linear_time(unit: str) -> None:
    """Sixteen times the text: about sixteen times the time, where quadratic would be 256."""
    options: dict[str, Any] = {"tools": TOOLS, "bare_json": True}
    small = list(unit * (2_000 // len(unit)))
    large = list(unit * (32_000 // len(unit)))
    assert seconds(large, **options) < 60 * seconds(small, **options) + 0.05
