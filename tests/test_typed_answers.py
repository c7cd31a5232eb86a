"""`Agent(output_type=…)` from the task to the result: asked for, read, repaired once, typed."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import anyio
import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

from ling_agent import Agent, AnswerError, CancelToken, Limits, RunResult, RunStatus, tool
from ling_agent.answers import AnswerSpec
from ling_agent.backends import ModelInfo
from ling_agent.events import Correction
from ling_agent.messages import UserMessage
from ling_agent.testing import Reply, ScriptedBackend

from .helpers import GUARD, StallingBackend, call, kinds, observations, stream

pytestmark = pytest.mark.anyio


class Offer(BaseModel):
    gpu: str
    price: float


@dataclass
class Point:
    x: int
    y: int = 0


class Person(TypedDict):
    name: str
    age: int


class Colour(Enum):
    red = "red"
    blue = "blue"


class Cat(BaseModel):
    meows: bool


OFFER = Offer(gpu="RTX 4090", price=0.3)

READS: dict[str, tuple[Any, str, Any]] = {
    "model": (Offer, '{"gpu": "RTX 4090", "price": 0.3}', OFFER),
    "model, coerced": (Offer, '{"gpu": "RTX 4090", "price": "0.3"}', OFFER),
    "model, fenced": (Offer, '```json\n{"gpu": "RTX 4090", "price": 0.3}\n```', OFFER),
    "model, in prose": (Offer, 'Here: {"gpu": "RTX 4090", "price": 0.3} Enjoy!', OFFER),
    "dataclass": (Point, '{"x": 1, "y": 2}', Point(1, 2)),
    "dataclass, default": (Point, '{"x": 1}', Point(1)),
    "TypedDict": (Person, '{"name": "Ann", "age": 3}', {"name": "Ann", "age": 3}),
    "Enum": (Colour, '{"answer": "red"}', Colour.red),
    "Enum, bare": (Colour, "blue", Colour.blue),
    "Literal": (Literal["yes", "no"], '{"answer": "no"}', "no"),
    "Literal, bare": (Literal["yes", "no"], "yes", "yes"),
    "union": (Offer | Cat, '{"answer": {"meows": true}}', Cat(meows=True)),
    "Optional": (int | None, '{"answer": 3}', 3),
    "list": (list[Point], '{"answer": [{"x": 1}, {"x": 2}]}', [Point(1), Point(2)]),
    "list, bare": (list[int], "[1, 2, 3]", [1, 2, 3]),
    "int": (int, '{"answer": 42}', 42),
    "int, bare": (int, "42", 42),
    "int, coerced": (int, '{"answer": "42"}', 42),
    "bool": (bool, '{"answer": false}', False),
}


@tool
async def look(item: str) -> str:
    """Look for an item."""
    return f"{item}: on the shelf"


def agent_with(*script: Any, output_type: Any = Offer, **options: Any) -> Agent[Any]:
    options = {"tools": [look], "planning": "off", **options}
    return Agent(ScriptedBackend(script), output_type=output_type, **options)


def sent(agent: Agent[Any]) -> list[Any]:
    assert isinstance(agent.backend, ScriptedBackend)
    return agent.backend.requests


GOOD = '{"gpu": "RTX 4090", "price": 0.3}'
BAD = '{"gpu": "RTX 4090", "price": "cheap"}'


@pytest.mark.parametrize("name", READS)
async def test_an_answer_that_fits_completes_the_run_at_once(name: str) -> None:
    output_type, text, value = READS[name]
    agent = agent_with(text, output_type=output_type)
    result = await agent.run("Answer.")
    assert (result.status, result.output) == (RunStatus.completed, value)
    assert type(result.output) is type(value)
    assert len(sent(agent)) == 1


async def test_the_model_is_told_the_form_behind_its_task_and_held_to_it() -> None:
    agent = agent_with(call("look", item="gpu"), GOOD)
    result = await agent.run("Find it.")
    spec = AnswerSpec.of(Offer)
    assert sent(agent)[0].messages[0] == UserMessage(f"Find it.\n\n{spec.hint}")
    assert result.trajectory.task is not None
    assert result.trajectory.task.data["task"] == "Find it."
    assert [request.answer_schema for request in sent(agent)] == [spec.schema] * 2
    assert [request.tool_choice for request in sent(agent)] == ["auto"] * 2


@pytest.mark.parametrize("name", READS)
async def test_the_form_has_the_same_bytes_each_time(name: str) -> None:
    output_type, text, _ = READS[name]
    told: set[str] = set()
    for _ in range(3):
        agent = agent_with(text, output_type=output_type)
        await agent.run("Answer.")
        request = sent(agent)[0]
        told.add(json.dumps([request.messages[0].content, request.answer_schema]))
    assert len(told) == 1


async def test_a_text_is_not_asked_for_any_form() -> None:
    agent = Agent(ScriptedBackend(["hello"]))
    assert (await agent.run("Say hello.")).output == "hello"
    assert sent(agent)[0].messages == (UserMessage("Say hello."),)
    assert sent(agent)[0].answer_schema is None


# -- the repair turn ------------------------------------------------------------------------------


async def test_one_that_does_not_fit_is_asked_for_again_with_the_exact_errors() -> None:
    agent = agent_with(BAD, GOOD)
    events, result = await stream(agent)
    assert (result.status, result.output) == (RunStatus.completed, OFFER)
    note = sent(agent)[1].messages[-1]
    with pytest.raises(AnswerError) as error:
        AnswerSpec.of(Offer).read(BAD)
    assert error.value.message in note.content
    assert "price" in note.content
    assert "cheap" in note.content
    assert sent(agent)[1].tool_choice == "none"
    assert sent(agent)[1].answer_schema == AnswerSpec.of(Offer).schema
    assert [e.message for e in events if isinstance(e, Correction)] == [note.content]
    assert sent(agent)[1].messages[:1] == sent(agent)[0].messages


async def test_there_is_one_repair_and_then_the_run_has_failed_with_its_work_kept() -> None:
    agent = agent_with(call("look", item="gpu"), BAD, BAD, GOOD)
    result = await agent.run("Find it.")
    assert (result.status, result.output) == (RunStatus.failed, None)
    assert isinstance(result.error, AnswerError)
    assert any("price" in problem for problem in result.error.problems)
    assert observations(result) == ["gpu: on the shelf"]
    assert len(sent(agent)) == 3
    again = await agent.resume(result.run_id)
    assert (again.status, again.output) == (RunStatus.completed, OFFER)
    assert "price" in sent(agent)[-1].messages[-1].content


async def test_the_repair_is_made_once_whatever_lies_between() -> None:
    agent = agent_with(BAD, call("look", item="gpu"), BAD, GOOD)
    result = await agent.run("Find it.")
    assert isinstance(result.error, AnswerError)
    assert len(sent(agent)) == 3


async def test_without_any_corrections_the_error_is_still_the_answers() -> None:
    agent = agent_with(BAD, GOOD)
    result = await agent.run("Find it.", limits=Limits(max_corrections=0))
    assert result.status is RunStatus.failed
    assert isinstance(result.error, AnswerError)
    assert len(sent(agent)) == 1


async def test_an_empty_answer_is_no_answer_of_the_wrong_form() -> None:
    agent = agent_with("", BAD, GOOD)
    assert (await agent.run("Find it.")).output == OFFER


async def test_each_task_of_a_session_has_its_own_repair() -> None:
    agent = agent_with(BAD, GOOD, BAD, GOOD)
    for _ in range(2):
        assert (await agent.run("Find it.", session="s")).output == OFFER
    messages = agent.memory.store.load("s").messages()
    assert messages.count(messages[0]) == 2


# -- with the rest of the loop --------------------------------------------------------------------


async def test_the_answer_of_an_inline_plan_is_what_follows_it() -> None:
    agent = agent_with(f"Plan: look\n\n{call('look', item='gpu')}", GOOD, planning="inline")
    assert (await agent.run("Find it.")).output == OFFER
    agent = agent_with("Plan: count them\n\n42", output_type=int, planning="inline")
    result = await agent.run("Count.")
    assert result.output == 42
    assert result.plan is not None


async def test_the_model_of_an_inline_plan_is_not_held_to_the_form_while_it_calls() -> None:
    script = ["<tool_call>", "look`.\n", 'gpu"}}\n</tool_call>', GOOD]
    backend = ScriptedBackend(script, renders_prompts=True)
    agent = Agent(backend, tools=[look], output_type=Offer)
    result = await agent.run("Find it.")
    assert result.output == OFFER
    schemas = [request.answer_schema is not None for request in backend.requests]
    assert schemas == [True, False, False, True]


async def test_an_explicit_plan_is_not_the_answer() -> None:
    agent = agent_with("Plan:\n1. look", call("look", item="gpu"), GOOD, planning="explicit")
    result = await agent.run("Find it.")
    assert result.output == OFFER
    assert [request.answer_schema is None for request in sent(agent)] == [True, False, False]


@pytest.mark.parametrize(
    "script", [(GOOD,), (BAD, GOOD), (BAD, BAD), (call("look", item="x"), GOOD)]
)
async def test_streamed_and_unstreamed_give_the_same(script: tuple[str, ...]) -> None:
    _, streamed = await stream(agent_with(*script))
    plain = await agent_with(*script).run("task")
    assert kinds(streamed) == kinds(plain)
    assert streamed.trajectory.messages() == plain.trajectory.messages()
    assert (streamed.status, streamed.output) == (plain.status, plain.output)
    assert str(streamed.error) == str(plain.error)


async def test_a_cut_answer_is_not_read_even_if_it_looks_complete() -> None:
    agent = agent_with(Reply(GOOD, finish_reason="length"), GOOD)
    result = await agent.run("Find it.")
    assert (result.status, result.output) == (RunStatus.max_tokens, None)
    again = await agent.resume(result.run_id)
    assert again.output == OFFER
    assert "cut off" in sent(agent)[-1].messages[-1].content


@pytest.mark.parametrize("how", ["stop", "cancel"])
async def test_a_stopped_answer_is_none(how: str) -> None:
    backend, token = StallingBackend(GOOD), CancelToken()
    agent = Agent(backend, output_type=Offer, planning="off")
    results: list[RunResult[Offer]] = []

    async def run() -> None:
        results.append(await agent.run("x", cancel=token))

    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await backend.stalled.wait()
            getattr(token, how)()
    assert results[0].status is (RunStatus.stopped if how == "stop" else RunStatus.cancelled)
    assert results[0].output is None
    assert GOOD[:10] in results[0].trajectory.to_jsonl().replace("\\", "")


@pytest.mark.parametrize(
    "limits", [Limits(max_steps=1), Limits(max_tool_calls=0), Limits(timeout=0)]
)
async def test_a_run_that_a_limit_ended_has_no_output(limits: Limits) -> None:
    agent = agent_with(call("look", item="gpu"), GOOD)
    result = await agent.run("Find it.", limits=limits)
    assert not result.ok
    assert result.output is None


async def test_a_sub_agents_typed_answer_is_what_its_tool_returns() -> None:
    inner = Agent(ScriptedBackend([BAD, GOOD]), output_type=Offer, planning="off", name="finder")
    agent = Agent(
        ScriptedBackend([call("finder", task="x"), "done"]),
        tools=[inner.as_tool()],
        planning="off",
    )
    result = await agent.run("x")
    assert json.loads(observations(result)[0]) == {"gpu": "RTX 4090", "price": 0.3}


async def test_a_null_answer_completes() -> None:
    result = await agent_with('{"answer": null}', output_type=int | None).run("x")
    assert (result.status, result.output) == (RunStatus.completed, None)


async def test_a_resumed_run_that_was_told_in_the_plan_reads_the_answer_behind_it() -> None:
    """The newest message ended the run without being taken; its plan is no part of its form."""
    agent = agent_with(
        Reply("Plan: count\n\n4", finish_reason="length"), "42", output_type=int, planning="inline"
    )
    result = await agent.run("Count.")
    assert result.status is RunStatus.max_tokens
    assert (await agent.resume(result.run_id)).output == 42
    assert "cut off" in sent(agent)[-1].messages[-1].content


class Forcing(ScriptedBackend):
    """A backend that can be told to make the model call."""

    async def describe(self) -> ModelInfo:
        return dataclasses.replace(await super().describe(), forces_calls=True)


async def test_an_answer_that_names_a_tool_is_one_if_it_fits() -> None:
    script = ['{"answer": "I will call look"}', call("look", item="gpu"), '{"answer": "done"}']
    cases: list[tuple[Any, int]] = [(list[str] | str, 1), (Offer, 2)]
    for output_type, requests in cases:
        backend = Forcing(script)
        agent = Agent(backend, output_type=output_type, tools=[look], planning="off")
        await agent.run("x", limits=Limits(max_steps=1))
        assert len(backend.requests) == requests


@pytest.mark.parametrize("parameters", [500_000_000, None])
async def test_who_is_told_to_answer_now_is_told_the_form_again(parameters: int | None) -> None:
    again = call("look", item="gpu")
    backend = ScriptedBackend([again, again, GOOD], parameters=parameters)
    agent = Agent(backend, output_type=Offer, tools=[look], planning="off")
    result = await agent.run("Find it.")
    assert result.output == OFFER
    note = backend.requests[2].messages[-1].content
    assert note == f"Find it. Answer from the results above.\n{AnswerSpec.of(Offer).hint}"
