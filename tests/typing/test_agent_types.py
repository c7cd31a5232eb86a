"""What a type checker infers of an agent's runs: `assert_type` is checked by pyright, and runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, assert_type

import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

from ling_agent import Agent, RunResult
from ling_agent.blocking import SyncRunStream
from ling_agent.stream import RunStream
from ling_agent.testing import ScriptedBackend

pytestmark = pytest.mark.anyio


@dataclass
class Offer:
    price: float


class Person(BaseModel):
    name: str


class Point(TypedDict):
    x: int


class Colour(Enum):
    red = "red"


def backend(text: str = "{}") -> ScriptedBackend:
    return ScriptedBackend([text] * 3)


def test_an_agent_is_of_its_output_type() -> None:
    assert_type(Agent(backend()), Agent[str])
    assert_type(Agent(backend(), output_type=str), Agent[str])
    assert_type(Agent(backend(), output_type=Offer), Agent[Offer])
    assert_type(Agent(backend(), output_type=Person), Agent[Person])
    assert_type(Agent(backend(), output_type=Point), Agent[Point])
    assert_type(Agent(backend(), output_type=Colour), Agent[Colour])
    assert_type(Agent(backend(), output_type=int), Agent[int])
    assert_type(Agent(backend(), output_type=list[Offer]), Agent[list[Offer]])
    assert_type(Agent(backend(), output_type=Offer | Person), Agent[Offer | Person])
    assert_type(Agent(backend(), output_type=int | None), Agent[int | None])
    assert_type(Agent(backend(), output_type=Literal["a", "b"]), Agent[Literal["a", "b"]])


async def test_runs_and_results_are_too() -> None:
    agent = Agent(backend('{"price": 1}'), output_type=Offer)
    result = await agent.run("x")
    assert_type(result, RunResult[Offer])
    assert_type(result.output, Offer | None)
    assert result.output is not None
    assert_type(result.output.price, float)
    async with agent.stream("x") as run:
        assert_type(run, RunStream[Offer])
        async for _ in run:
            pass
        assert_type(run.result, RunResult[Offer])
        assert_type(await run.wait(), RunResult[Offer])
    text = await Agent(backend("hello")).run("x")
    assert_type(text, RunResult[str])
    assert_type(text.output, str | None)


def test_synchronous_ones_too() -> None:
    agent = Agent(backend('{"price": 1}'), output_type=Offer)
    assert_type(agent.run_sync("x"), RunResult[Offer])
    with agent.stream_sync("x") as run:
        assert_type(run, SyncRunStream[Offer])
        assert len(list(run)) > 2
        assert_type(run.result, RunResult[Offer])
    if not __debug__:  # never run, always checked
        assert_type(agent.resume_sync("x"), RunResult[Offer])


def test_agents_in_a_list_and_as_parameters() -> None:
    agents = [Agent(backend(), output_type=Offer), Agent(backend(), output_type=Offer)]
    assert_type(agents, list[Agent[Offer]])
    mixed: list[Agent[Any]] = [Agent(backend()), Agent(backend(), output_type=Offer)]
    assert len(mixed) == 2
    takes_text(Agent(backend()))
    if not __debug__:  # never run, always checked
        takes_text(Agent(backend(), output_type=Offer))  # pyright: ignore[reportArgumentType]


def takes_text(agent: Agent) -> None:
    """`Agent` alone is one whose output is text."""
    assert_type(agent, Agent[str])


def test_a_copy_keeps_its_type_or_has_the_new_one() -> None:
    agent = Agent(backend(), output_type=Offer)
    assert_type(agent.with_options(instructions="Be brief."), Agent[Offer])
    assert_type(agent.with_options(output_type=Person), Agent[Person])
    assert_type(agent.with_options(output_type=list[int], name="x"), Agent[list[int]])
