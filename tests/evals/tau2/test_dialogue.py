"""`Dialogue`: an agent that works in turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from ling_agent import Agent, BackendUnavailable, Limits
from ling_agent.backends import Backend
from ling_agent.evals.tau2.dialogue import Call, Dialogue, NoAnswer, Observation
from ling_agent.messages import AssistantMessage, SystemMessage, ToolMessage, UserMessage
from ling_agent.testing import ScriptedBackend
from ling_agent.tools import Tool

from ...helpers import GUARD, StallingBackend, call, calls

pytestmark = pytest.mark.anyio

SCHEMA = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Look at something.",
        "parameters": {
            "type": "object",
            "properties": {"at": {"type": "string"}, "times": {"type": "integer"}},
            "required": ["at"],
        },
    },
}


def dialogue(backend: Backend, *, observe: Any = None, **options: Any) -> Dialogue:
    def make(tools: Sequence[Tool[..., Any]], instructions: str) -> Agent[str]:
        return Agent(backend, tools=tools, instructions=instructions, planning="off", **options)

    return Dialogue(make, [SCHEMA], "Be brief.", observe)


async def test_calls_are_moves_and_their_results_go_on_with_the_run() -> None:
    backend = ScriptedBackend([call("look", at="door"), "It is open.", "You are welcome."])
    talk = dialogue(backend)
    async with talk.open():
        assert await talk.next("Is it open?") == Call("call-1", "look", {"at": "door"})
        assert await talk.next(Observation("open")) == "It is open."
        assert await talk.next("Thanks.") == "You are welcome."
    backend.assert_exhausted()
    first, second, third = (request.messages for request in backend.requests)
    assert first == (SystemMessage("Be brief."), UserMessage("Is it open?"))
    assert second[-1] == ToolMessage("call_1_0", "look", "open")
    assert third[: len(second)] == second  # one session
    assert [result.output for result in talk.results] == ["It is open.", "You are welcome."]


async def test_calls_of_one_message_come_one_after_the_other() -> None:
    both = calls(call("look", at="door"), call("look", at="window"))
    talk = dialogue(ScriptedBackend([both, "Done."]))
    async with talk.open():
        assert await talk.next("Look.") == Call("call-1", "look", {"at": "door"})
        assert await talk.next(Observation("open")) == Call("call-2", "look", {"at": "window"})
        assert await talk.next(Observation("shut")) == "Done."
    (result,) = talk.results
    assert [message.content for message in result.steps[0].observations] == ["open", "shut"]


async def test_an_error_of_the_environment_is_one_for_the_model() -> None:
    backend = ScriptedBackend([call("look", at="moon"), "There is none."])
    talk = dialogue(backend)
    async with talk.open():
        await talk.next("Look.")
        assert await talk.next(Observation("Error: no moon", is_error=True)) == "There is none."
    assert backend.requests[1].messages[-1] == ToolMessage(
        "call_1_0", "look", "Error: no moon", is_error=True
    )


async def test_a_call_that_does_not_fit_is_no_move() -> None:
    script = [call("look", times=2), call("listen"), call("look", at="door"), "Open."]
    talk = dialogue(ScriptedBackend(script))
    async with talk.open():
        assert await talk.next("Look.") == Call("call-1", "look", {"at": "door"})
        assert await talk.next(Observation("open")) == "Open."


async def test_what_was_said_before_is_in_front() -> None:
    backend = ScriptedBackend(["Still open."])
    talk = dialogue(backend)
    earlier = [
        {"role": "user", "content": "Is it open?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "a", "function": {"name": "look", "arguments": '{"at": "door"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "open"},
        {"role": "assistant", "content": "It is."},
    ]
    async with talk.open():
        await talk.begin(earlier)
        assert await talk.next("And now?") == "Still open."
    sent = backend.requests[0].messages
    assert [type(message) for message in sent] == [
        SystemMessage,
        UserMessage,
        AssistantMessage,
        ToolMessage,
        AssistantMessage,
        UserMessage,
    ]
    assert sent[3] == ToolMessage("a", "look", "open")


async def test_results_can_be_put_into_another_form() -> None:
    backend = ScriptedBackend([call("look", at="door"), call("look", at="gap"), "Done."])

    def told(value: Any) -> str:
        return f"state={value['state']}"

    talk = dialogue(backend, observe=told)
    async with talk.open():
        await talk.next("Look.")
        await talk.next(Observation('{"state": "open"}'))
        await talk.next(Observation("not JSON"))
    (result,) = talk.results
    seen = [message.content for step in result.steps for message in step.observations]
    assert seen == ["state=open", "not JSON"]


async def test_a_run_with_nothing_to_say_is_told_with_its_status() -> None:
    talk = dialogue(ScriptedBackend([call("look", at="door")]), limits=Limits(max_steps=1))
    async with talk.open():
        await talk.next("Look.")
        with pytest.raises(NoAnswer, match="max_steps without an answer") as raised:
            await talk.next(Observation("open"))
    assert raised.value.status == "max_steps"


async def test_unreadable_answers_are_the_agents() -> None:
    talk = dialogue(ScriptedBackend([""] * 3))
    async with talk.open():
        with pytest.raises(NoAnswer, match="3 unusable answers"):
            await talk.next("Look.")


async def test_a_prompt_that_is_too_long_is_the_agents() -> None:
    talk = dialogue(ScriptedBackend([], context_window=5))
    async with talk.open():
        with pytest.raises(NoAnswer, match="failed without an answer: the prompt"):
            await talk.next("A task of more words than the window has.")


@pytest.mark.parametrize("before", [[], [call("look", at="door")]], ids=["at once", "later"])
async def test_a_model_that_is_gone_is_not(before: list[str]) -> None:
    talk = dialogue(ScriptedBackend([*before, BackendUnavailable("gone")]))
    async with talk.open():
        heard: list[str | Observation] = ["Look.", *(Observation("open") for _ in before)]
        for told in heard[:-1]:
            await talk.next(told)
        with pytest.raises(BackendUnavailable, match="gone"):
            await talk.next(heard[-1])


async def test_a_waiting_run_ends_with_the_dialogue() -> None:
    talk = dialogue(ScriptedBackend([call("look", at="door")]))
    with anyio.fail_after(GUARD):
        async with talk.open():
            await talk.next("Look.")
    assert talk.results == []


async def test_a_turn_can_be_cancelled() -> None:
    backend = StallingBackend("I am")
    talk = dialogue(backend)
    with anyio.fail_after(GUARD):
        async with talk.open(), anyio.create_task_group() as group:
            group.start_soon(talk.next, "Look.")
            await backend.stalled.wait()
            group.cancel_scope.cancel()
    assert backend.left
