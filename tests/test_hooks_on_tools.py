"""Hooks on calls and their results, together with approvals."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from ling_agent import (
    Agent,
    ApprovalRequest,
    Deny,
    Edit,
    Memory,
    RunStatus,
    tool,
)
from ling_agent.approvals import Approval
from ling_agent.events import (
    ApprovalRequested,
    ToolFinished,
    ToolStarted,
)
from ling_agent.hooks import (
    AfterTool,
    BeforeTool,
    Veto,
)
from ling_agent.memory import SQLiteStore
from ling_agent.messages import ToolCall
from ling_agent.testing import ScriptedBackend
from ling_agent.tools import ToolOutcome

from .helpers import call, calls, observations, stream
from .hooked import Shelf, card, hide, requests, upper

pytestmark = pytest.mark.anyio


def deciding(decision: Approval) -> Callable[[ApprovalRequest], Approval]:
    def approve(request: ApprovalRequest) -> Approval:
        return decision

    return approve


async def test_a_refused_call_that_is_made_again_and_again_ends_the_run() -> None:
    def never(moment: BeforeTool) -> Veto:
        return Veto("not that one")

    shelf = Shelf()
    agent = shelf.agent(*[call("look", item="tea")] * 9, hooks=[never])
    result = await agent.run("x")
    assert result.status is RunStatus.repeating
    assert observations(result) == ["Error: not that one"] * 3


async def test_a_call_that_is_let_pass_the_second_time_runs() -> None:
    refused: list[str] = []

    def later(moment: BeforeTool) -> Veto | None:
        if len(refused) < 2:
            refused.append(moment.call_id)
            return Veto("not now")
        return None

    shelf = Shelf()
    result = await shelf.agent(*[call("look", item="tea")] * 3, "done", hooks=[later]).run("x")
    assert result.output == "done"
    assert observations(result) == ["Error: not now", "Error: not now", "tea: on the shelf"]


# -- BeforeTool -----------------------------------------------------------------------------------


async def test_before_tool_changes_the_arguments_and_the_model_is_told() -> None:
    shelf = Shelf()
    agent = shelf.agent(call("look", item="tea"), "done", hooks=[upper])
    events, result = await stream(agent)
    assert shelf.asked == ["tea!"]
    assert observations(result) == [
        '(The application changed the arguments to {"item": "tea!"}.)\ntea!: on the shelf'
    ]
    assert [e.call.arguments for e in events if isinstance(e, ToolStarted)] == [{"item": "tea!"}]
    message = result.steps[0].message
    assert message.calls[0].arguments == {"item": "tea"}  # as the model wrote it


async def test_changed_arguments_are_checked_like_any() -> None:
    def drop(moment: BeforeTool) -> BeforeTool:
        return dataclasses.replace(moment, arguments={})

    shelf = Shelf()
    result = await shelf.agent(call("look", item="tea"), "done", hooks=[drop]).run("x")
    assert shelf.asked == []
    assert "do not fit tool 'look'" in observations(result)[0]


async def test_a_vetoed_call_is_answered_with_the_reason_and_the_others_run() -> None:
    def no_tea_call(moment: BeforeTool) -> Veto | None:
        return Veto("no tea here") if moment.arguments["item"] == "tea" else None

    shelf = Shelf()
    both = calls(call("look", item="tea"), call("look", item="jam"))
    result = await shelf.agent(both, "done", hooks=[no_tea_call]).run("x")
    assert observations(result) == ["Error: no tea here", "jam: on the shelf"]
    assert shelf.asked == ["jam"]
    assert result.usage.tool_calls == 1


async def test_whoever_approves_sees_what_would_run_and_it_runs_as_approved() -> None:
    shelf = Shelf()
    shown: list[dict[str, Any]] = []

    def approve(request: ApprovalRequest) -> bool:
        shown.append(dict(request.call.arguments))
        return True

    agent = shelf.agent(call("buy", item="tea"), "done", hooks=[upper], approve=approve)
    result = await agent.run("x")
    assert shown == [{"item": "tea!"}]
    assert shelf.asked == ["tea!"]
    assert result.output == "done"


async def test_approved_later_it_runs_as_it_was_shown() -> None:
    shelf = Shelf()
    agent = shelf.agent(call("buy", item="tea"), "done", hooks=[upper])
    events, first = await stream(agent)
    assert first.status is RunStatus.needs_approval
    assert first.pending_approvals[0].arguments == {"item": "tea!"}
    assert [e.call.arguments for e in events if isinstance(e, ApprovalRequested)] == [
        {"item": "tea!"}
    ]
    await agent.resume(first.run_id, approvals={first.pending_approvals[0].id: True})
    assert shelf.asked == ["tea!"]


@pytest.mark.parametrize("inline", [True, False])
async def test_what_a_person_edits_passes_the_hooks_once(inline: bool) -> None:
    shelf = Shelf()
    edit = Edit({"item": "jam"})
    agent = shelf.agent(
        call("buy", item="tea"), "done", hooks=[upper], approve=deciding(edit) if inline else None
    )
    result = await agent.run("x")
    if not inline:
        id_ = result.pending_approvals[0].id
        result = await agent.resume(result.run_id, approvals={id_: edit})
    assert shelf.asked == ["jam!"]
    assert observations(result)[0].startswith("(The user changed the arguments")


@pytest.mark.parametrize("inline", [True, False])
async def test_an_edit_can_be_vetoed(inline: bool) -> None:
    def no_jam(moment: BeforeTool) -> Veto | None:
        return Veto("no jam") if moment.arguments["item"] == "jam" else None

    shelf = Shelf()
    edit = Edit({"item": "jam"})
    agent = shelf.agent(
        call("buy", item="tea"), "done", hooks=[no_jam], approve=deciding(edit) if inline else None
    )
    result = await agent.run("x")
    if not inline:
        id_ = result.pending_approvals[0].id
        result = await agent.resume(result.run_id, approvals={id_: edit})
    assert shelf.asked == []
    assert observations(result) == ["Error: no jam"]
    assert result.output == "done"


async def test_a_vetoed_call_is_not_asked_about() -> None:
    def never(moment: BeforeTool) -> Veto:
        return Veto("never")

    asked: list[ApprovalRequest] = []
    agent = Shelf().agent(call("buy", item="tea"), "done", hooks=[never], approve=asked.append)
    assert observations(await agent.run("x")) == ["Error: never"]
    assert asked == []


async def test_a_denied_call_passes_no_hook() -> None:
    seen: list[str] = []

    def look(moment: BeforeTool) -> None:
        seen.append(moment.name)

    agent = Shelf().agent(
        call("buy", item="tea"), "done", hooks=[look], approve=deciding(Deny("too dear"))
    )
    result = await agent.run("x")
    assert observations(result) == ["Error: this call was not approved: too dear"]
    assert seen == ["buy"]


# -- AfterTool ------------------------------------------------------------------------------------


async def test_after_tool_is_what_everybody_reads(tmp_path: Any) -> None:
    path = tmp_path / "runs.db"
    memory = Memory(SQLiteStore(path))
    agent = Agent(
        ScriptedBackend([call("card"), "done"]),
        tools=[card],
        planning="off",
        hooks=[hide],
        memory=memory,
    )
    events, result = await stream(agent)
    assert observations(result) == ["card number ****"]
    assert "number 4711" not in str(events)
    assert "number 4711" not in result.trajectory.to_jsonl()
    assert "number 4711" not in str(requests(agent))
    stored = SQLiteStore(path).load(result.run_id)  # the file is compressed
    assert "card number ****" in stored.to_jsonl()
    assert "number 4711" not in stored.to_jsonl()


async def test_a_trace_gets_what_everybody_reads() -> None:
    texts: list[str] = []

    class Trace:
        """One that takes the outcomes of calls."""

        def model(self, request: object, info: object, step: int) -> Any:
            return contextlib.nullcontext(lambda _: None)  # pyright: ignore

        def tool(self, call: object, tool: object) -> Any:
            def ended(outcome: ToolOutcome) -> None:
                texts.append(outcome.text)

            return contextlib.nullcontext(ended)

        def finished(self, result: object) -> None:
            pass

    class Tracing:
        def run(self, start: object) -> contextlib.AbstractContextManager[Trace]:
            return contextlib.nullcontext(Trace())

    agent = Agent(
        ScriptedBackend([call("card"), "done"]),
        tools=[card],
        planning="off",
        hooks=[hide],
        tracing=Tracing(),
    )
    assert (await agent.run("x")).ok
    assert texts == ["card number ****"]


async def test_after_tool_sees_the_value_and_may_turn_errors() -> None:
    seen: list[AfterTool] = []

    @tool
    async def divide(a: int, b: int) -> float:
        """Divide."""
        return a / b

    def turn(moment: AfterTool) -> AfterTool:
        seen.append(moment)
        return dataclasses.replace(moment, is_error=not moment.is_error)

    script = [calls(call("divide", a=1, b=2), call("divide", a=1, b=0)), "done"]
    agent = Agent(ScriptedBackend(script), tools=[divide], planning="off", hooks=[turn])
    events, _ = await stream(agent)
    finished = {e.observation.call_id: e.observation for e in events if isinstance(e, ToolFinished)}
    assert [finished[f"call_1_{n}"].is_error for n in (0, 1)] == [True, False]
    by_id = {moment.call.id: moment for moment in seen}
    assert by_id["call_1_0"].value == 0.5
    assert by_id["call_1_1"].value is None
    assert by_id["call_1_1"].text.startswith("Error: ")
    assert by_id["call_1_0"].call == ToolCall("call_1_0", "divide", {"a": 1, "b": 2})


async def test_a_vetoed_result_is_replaced_by_the_reason() -> None:
    def refuse(moment: AfterTool) -> Veto:
        return Veto("the result must not be read")

    agent = Agent(
        ScriptedBackend([call("card"), "done"]), tools=[card], planning="off", hooks=[refuse]
    )
    result = await agent.run("x")
    assert observations(result) == ["Error: the result must not be read"]
    assert "number 4711" not in result.trajectory.to_jsonl()


async def test_calls_that_did_not_run_have_no_result() -> None:
    seen: list[AfterTool] = []

    def look(moment: AfterTool) -> None:
        seen.append(moment)

    agent = Shelf().agent(calls(call("look"), call("sell", item="x")), "done", hooks=[look])
    await agent.run("x")
    assert seen == []
