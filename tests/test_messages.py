"""The conversation's own types, and their OpenAI form."""

from __future__ import annotations

import dataclasses

import pytest

from ling_agent.messages import (
    AssistantMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
    to_openai,
)

CALL = ToolCall("call_1_0", "search", {"gpu": "RTX 4090"}, ("closed_brace",))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (SystemMessage("a"), {"role": "system", "content": "a"}),
        (UserMessage("a"), {"role": "user", "content": "a"}),
        (
            ToolMessage("call_1_0", "search", "found", is_error=True),
            {"role": "tool", "tool_call_id": "call_1_0", "name": "search", "content": "found"},
        ),
        (AssistantMessage("a"), {"role": "assistant", "content": "a"}),
        (
            AssistantMessage("", "hm", (CALL,), raw="<think>hm</think>…"),
            {
                "role": "assistant",
                "content": "",
                "reasoning_content": "hm",
                "tool_calls": [
                    {
                        "id": "call_1_0",
                        "type": "function",
                        "function": {"name": "search", "arguments": {"gpu": "RTX 4090"}},
                    }
                ],
                "raw": "<think>hm</think>…",
            },
        ),
        (AssistantMessage("", raw=""), {"role": "assistant", "content": "", "raw": ""}),
    ],
)
def test_openai_form(message: Message, expected: dict[str, object]) -> None:
    assert to_openai(message) == expected


def test_messages_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        UserMessage("a").content = "b"  # type: ignore[misc]
