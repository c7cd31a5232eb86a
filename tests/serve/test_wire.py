"""Every event becomes JSON that tells it apart; values of tools never break it."""

from __future__ import annotations

import dataclasses
import enum
import json
import typing
from dataclasses import dataclass
from typing import Any

import pydantic
import pytest

from ling_agent import BackendUnavailable, RunResult, RunStatus, Trajectory, Usage
from ling_agent import events as every
from ling_agent.events import Event
from ling_agent.messages import ToolCall, ToolMessage
from ling_agent.results import Plan, PlanStep
from ling_agent.serve.wire import any_to_json, event_to_json, output_text, result_to_json

CALL = ToolCall("call_1_0", "add", {"a": 1}, ("trailing_comma",))
PLAN = Plan("1. look", (PlanStep("look", "done"),), 2)
RESULT = RunResult(
    "done",
    RunStatus.needs_approval,
    PLAN,
    (),
    Usage(prompt_tokens=3),
    Trajectory(),
    "run",
    BackendUnavailable("http://10.0.0.7:8000 is gone"),
    (CALL,),
)

EXAMPLES: list[Event] = [
    every.RunStarted("run", "task"),
    every.StepStarted(1),
    every.PrefillProgress(512, 4096),
    every.PlanMade(PLAN),
    every.PlanUpdated(PLAN),
    every.TextDelta("é\ud800"),
    every.ReasoningDelta("hm"),
    every.CallStarted(0, "call_1_0", "add"),
    every.ArgumentsDelta(0, '{"a"'),
    every.CallParsed(0, "call_1_0", "add", {"a": 1}, ("trailing_comma",)),
    every.CallFailed(0, "invalid_json", "{", "write JSON", "add"),
    every.ToolStarted(CALL),
    every.ToolProgress("call_1_0", {"done": 3}),
    every.ToolFinished(ToolMessage("call_1_0", "add", "2", True), 0.25),
    every.ApprovalRequested(CALL),
    every.Correction("again"),
    every.Compacted("high watermark", 100, 50),
    every.SubagentEvent("call_1_0", "helper", "inner", every.TextDelta("x")),
    every.StepFinished(1, Usage(prompt_tokens=3, cached_tokens=1)),
    every.RunFinished(RESULT),
]


def members(union: Any) -> set[type]:
    """The classes of a union, with those of unions in it."""
    return {one for arg in typing.get_args(union) for one in (members(arg) or {arg})}


def test_there_is_an_example_of_every_event() -> None:
    assert {type(event) for event in EXAMPLES} == members(Event)


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_every_event_is_json_with_all_its_fields(event: Event) -> None:
    told = event_to_json(event)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    name = type(event).__name__
    assert told["type"] == "".join(f"_{c.lower()}" if c.isupper() else c for c in name)[1:]
    assert set(told) == {"type", *(field.name for field in dataclasses.fields(event))}


def test_the_types_are_told_apart() -> None:
    types = [event_to_json(event)["type"] for event in EXAMPLES]
    assert len(set(types)) == len(types)


def test_what_is_nested_is_told() -> None:
    told = {event_to_json(event)["type"]: event_to_json(event) for event in EXAMPLES}
    call = {"id": "call_1_0", "name": "add", "arguments": {"a": 1}, "repairs": ["trailing_comma"]}
    assert told["tool_started"]["call"] == told["approval_requested"]["call"] == call
    assert told["plan_made"]["plan"] == {
        "text": "1. look",
        "steps": [{"text": "look", "status": "done"}],
        "revision": 2,
    }
    assert told["subagent_event"]["event"] == {"type": "text_delta", "text": "x"}
    assert told["tool_finished"]["observation"]["is_error"] is True
    assert told["step_finished"]["usage"]["cached_tokens"] == 1


def test_a_result_tells_no_address() -> None:
    told = result_to_json(RESULT)
    assert "10.0.0.7" not in json.dumps(told)
    assert told["error"]["code"] == "model_unavailable"
    assert [call["id"] for call in told["pending_approvals"]] == ["call_1_0"]
    assert (told["status"], told["output"]) == ("needs_approval", "done")


def test_what_a_server_said_of_a_prompt_is_not_told() -> None:
    told = event_to_json(every.Compacted("refused: http://10.0.0.7 has 4096", 1, 2))
    assert told["reason"] == "the prompt was refused as too long"


class Colour(enum.Enum):
    red = "r"


@dataclass
class Offer:
    price: float
    key: pydantic.SecretStr


class Model(pydantic.BaseModel):
    name: str


class Odd:
    """Pydantic knows nothing of it."""


def circular() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Offer(1.5, pydantic.SecretStr("sk-1")), {"price": 1.5, "key": "**********"}),
        (Model(name="a"), {"name": "a"}),
        (Colour.red, "r"),
        (float("nan"), "NaN"),
        ({"x": (1, {2})}, {"x": [1, [2]]}),
        (b"\xff", "_w=="),
        (Odd(), "<Odd>"),
        ([Odd()], ["<Odd>"]),
        (circular(), "<list>"),
        (ValueError("/home/me"), "<ValueError>"),
    ],
)
def test_any_value_becomes_json(value: object, told: object) -> None:
    assert any_to_json(value) == told
    json.dumps(any_to_json(value), allow_nan=False)


def test_an_answer_is_text_or_json() -> None:
    assert output_text("as it is\n") == "as it is\n"
    assert json.loads(output_text(Model(name="é"))) == {"name": "é"}
    assert json.loads(output_text([1, 2])) == [1, 2]
    assert json.loads(output_text(Colour.red)) == "r"
