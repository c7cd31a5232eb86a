"""Conversations as OpenAI's messages, out and in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ling_agent import Agent, ConfigurationError, Memory, Trajectory, tool
from ling_agent.memory.trajectory import unanswered
from ling_agent.memory.window import Window
from ling_agent.messages import (
    AssistantMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from ling_agent.testing import ScriptedBackend

CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Add."},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_9",
                "type": "function",
                "function": {"name": "add", "arguments": '{"a": 1, "b": "ä"}'},
            },
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "sub", "arguments": ""},
            },
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "1"},
    {"role": "tool", "tool_call_id": "call_9", "content": [{"type": "text", "text": "2"}]},
    {"role": "assistant", "content": "Three.", "reasoning_content": "1 + 2"},
]


def test_messages_are_read() -> None:
    trajectory = Trajectory.from_openai(CONVERSATION)
    calls = (ToolCall("call_9", "add", {"a": 1, "b": "ä"}), ToolCall("call_1", "sub", {}))
    assert trajectory.messages() == [
        SystemMessage("Be brief."),
        UserMessage("Add."),
        AssistantMessage("", None, calls),
        ToolMessage("call_9", "add", "2"),
        ToolMessage("call_1", "sub", "1"),
        AssistantMessage("Three.", "1 + 2"),
    ], "in the order of the calls, whatever their ids look like"
    assert list(Window(trajectory).messages()) == trajectory.messages()
    assert [entry.kind for entry in trajectory] == [
        "instructions", "task", "assistant", "observation", "observation", "assistant",
    ]  # fmt: skip
    assert [entry.step for entry in trajectory] == [0, 0, 1, 1, 1, 2]
    assert trajectory.task is not None
    assert trajectory.task.data["task"] == "Add."


def test_what_is_written_is_read_again() -> None:
    written = Trajectory.from_openai(CONVERSATION).to_openai()
    assert Trajectory.from_openai(written).to_openai() == written
    assert json.loads(json.dumps(written)) == written
    assert written[2]["tool_calls"][0]["function"]["arguments"] == '{"a": 1, "b": "ä"}'
    assert written[5] == {
        "role": "assistant",
        "content": "Three.",
        "reasoning_content": "1 + 2",
    }


def test_raw_text_and_the_log_itself_stay_untouched() -> None:
    trajectory = Trajectory()
    call = ToolCall("call_1_0", "add", {"a": 1})
    trajectory.append("task", UserMessage("t"), task="t")
    trajectory.append("assistant", AssistantMessage("", None, (call,), "<tool_call>"), step=1)
    written = trajectory.to_openai()
    assert "raw" not in written[1]
    written[1]["tool_calls"][0]["function"]["arguments"] = "changed"
    assert call.arguments == {"a": 1}
    assert trajectory.to_openai()[1]["tool_calls"][0]["function"]["arguments"] == '{"a": 1}'


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({}, "'role' is missing"),
        ({"role": "judge", "content": "x"}, "role 'judge' is none of"),
        ({"role": "user", "content": 5}, "text or a list of parts"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "only parts of type 'text'"),
        ({"role": "user", "content": ["text"]}, "only parts of type 'text'"),
        ({"role": "tool", "content": "x"}, "'tool_call_id' is missing"),
        ({"role": "assistant", "tool_calls": [{"id": "i"}]}, "'function' is missing"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]},
            "Expecting",
        ),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[1]"}}]},
            "arguments of f must be a JSON object",
        ),
        (None, "message 1: "),
        ("text", "message 1: "),
        ({"role": "user", "content": [{"type": "text"}]}, "'text' is missing"),
    ],
)
def test_an_error_says_which_message_and_why(message: Any, why: str) -> None:
    with pytest.raises(ConfigurationError, match="message 1: ") as caught:
        Trajectory.from_openai([CONVERSATION[0], message])
    assert why in str(caught.value)


def test_arguments_may_be_objects_and_parts_are_joined() -> None:
    call = {"id": "i", "function": {"name": "f", "arguments": {"a": 1}}}
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    trajectory = Trajectory.from_openai(
        [
            {"role": "developer", "content": "d"},
            {"role": "user", "content": parts},
            {"role": "assistant", "tool_calls": [call]},
        ]
    )
    system, user, assistant = trajectory.messages()
    assert (system, user) == (SystemMessage("d"), UserMessage("ab"))
    assert isinstance(assistant, AssistantMessage)
    assert assistant.calls[0].arguments == {"a": 1}
    assert list(unanswered(trajectory)) == ["i"]


@pytest.mark.anyio
async def test_a_run_goes_on_from_what_was_read() -> None:
    @tool
    async def add(a: int) -> str:
        """Add."""
        return str(a)

    backend = ScriptedBackend(["done"])
    memory = Memory()
    memory.store.append("s", list(Trajectory.from_openai(CONVERSATION)))
    agent = Agent(backend, tools=[add], planning="off", memory=memory)
    result = await agent.run("More.", session="s")
    assert result.output == "done"
    assert len(backend.requests[0].messages) == 7
    assert result.steps[0].index == 3
