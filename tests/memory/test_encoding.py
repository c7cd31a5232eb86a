"""JSON lines: older versions are read, newer ones refused."""

from __future__ import annotations

import json

import pytest

from ling_agent import StoreError, Trajectory
from ling_agent.memory.encoding import VERSION, entry_from_json, entry_to_json
from ling_agent.memory.window import Window
from ling_agent.messages import AssistantMessage, ToolCall, ToolMessage, UserMessage

FIRST_VERSION = """\
{"format": "ling_agent.trajectory", "version": 1}
{"id": 0, "parent": null, "step": 0, "kind": "task", "data": {"task": "Find it."}, \
"tokens": null, "time": 1.5, "message": {"role": "user", "content": "Find it."}}
{"id": 1, "parent": 0, "step": 1, "kind": "assistant", "data": {}, "tokens": 7, "time": 2.5, \
"message": {"role": "assistant", "content": "", "reasoning": null, "calls": [{"id": "call_1_0", \
"name": "look", "arguments": {"n": 1}, "repairs": ["quotes"]}], "raw": "<tool_call>"}}
{"id": 2, "parent": 1, "step": 1, "kind": "usage", "data": {"prompt_tokens": 9, \
"completion_tokens": 7, "cached_tokens": null}, "tokens": null, "time": 2.5}
{"id": 3, "parent": 2, "step": 1, "kind": "observation", "data": {}, "tokens": null, "time": 3.5, \
"message": {"role": "tool", "call_id": "call_1_0", "name": "look", "content": "seen", \
"is_error": false}}
"""


def test_a_log_of_the_first_version() -> None:
    trajectory = Trajectory.from_jsonl(FIRST_VERSION)
    call = ToolCall("call_1_0", "look", {"n": 1}, ("quotes",))
    expected = [
        UserMessage("Find it."),
        AssistantMessage("", None, (call,), "<tool_call>"),
        ToolMessage("call_1_0", "look", "seen"),
    ]
    assert trajectory.messages() == expected
    assert list(Window(trajectory).messages()) == expected
    assert trajectory.tokens == 16
    again = trajectory.to_jsonl()
    assert json.loads(again.split("\n")[0])["version"] == VERSION
    assert list(Trajectory.from_jsonl(again)) == list(trajectory)


@pytest.mark.parametrize("version", [0, VERSION + 1, "1", None, 1.5])
def test_other_versions_are_refused(version: object) -> None:
    head = json.dumps({"format": "ling_agent.trajectory", "version": version})
    with pytest.raises(StoreError, match="newer version"):
        Trajectory.from_jsonl(head + "\n")


def test_what_a_compaction_holds_comes_back() -> None:
    trajectory = Trajectory()
    trajectory.append("task", UserMessage("t\u2028\u0085x"), task="t")
    trajectory.append("compaction", cut=[[0, 1, 1, "ä\n"]], dropped=[[5, 9]], record="r", by="rule")
    again = Trajectory.from_jsonl(trajectory.to_jsonl())
    assert again[1].data == trajectory[1].data
    assert Window(again).messages() == Window(trajectory).messages()


def test_an_entry_is_read_without_its_log() -> None:
    entry = Trajectory().append("note", UserMessage("n"), step=3, tokens=5, extra=[1, None])
    assert entry_from_json(entry_to_json(entry)) == entry


def test_a_text_that_is_read_need_not_end_in_a_newline() -> None:
    assert len(Trajectory.from_jsonl(FIRST_VERSION.rstrip("\n"))) == 4
    assert len(Trajectory.from_jsonl(FIRST_VERSION + "\n\n")) == 4


def test_a_line_that_was_written_in_part_is_named() -> None:
    with pytest.raises(StoreError, match="line 5 is damaged"):
        Trajectory.from_jsonl(FIRST_VERSION[:-30])
