"""The whole stack on the real model, Qwen2.5-Coder-0.5B, in process."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from examples.marketplace_search.agent import make_agent
from examples.marketplace_search.market import SnapshotMarket
from ling_agent import Agent, CancelToken, Limits, RunStatus, Sampling, ToolError, catalog, tool
from ling_agent.backends import Finished, LlamaCppBackend, ModelRequest
from ling_agent.events import Event, PlanMade, TextDelta, ToolStarted
from ling_agent.messages import UserMessage

pytestmark = [pytest.mark.model, pytest.mark.anyio]

MODEL = "qwen2.5-coder-0.5b"
QUESTION = "Find the cheapest RTX 4090."


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # the engine thread is tested on trio in tests/backends


@pytest.fixture(scope="module")
def model() -> Path:
    path = catalog.cached_path(MODEL)
    assert path is not None, f"run `ling-agent models pull {MODEL}` (`make test` does)"
    return path


@pytest.fixture(scope="module")
def backend(model: Path) -> LlamaCppBackend:
    return LlamaCppBackend(str(model), n_ctx=8192)


async def test_a_whole_run_plans_searches_and_answers(model: Path) -> None:
    result = await make_agent(SnapshotMarket(), f"llamacpp:{model}").run(QUESTION)
    assert result.status is RunStatus.completed
    assert result.plan is not None
    calls = [call for step in result.steps for call in step.message.calls]
    assert calls[0].name == "browse_marketplace"
    assert "4090" in calls[0].arguments["gpu"]
    assert result.output is not None
    assert "29181" in result.output or "0.28" in result.output
    assert result.usage.cached_tokens is not None
    assert result.usage.cached_tokens > result.usage.prompt_tokens / 3


async def test_a_question_that_the_model_answers_in_words_takes_one_request(model: Path) -> None:
    agent = make_agent(SnapshotMarket(), f"llamacpp:{model}")
    question = "What does VRAM stand for?"
    plain = await agent.run(question)
    assert (plain.status, plain.plan) == (RunStatus.completed, None)
    assert (plain.usage.requests, plain.usage.tool_calls) == (1, 0)
    async with agent.stream(question) as run:
        text = "".join([event.text async for event in run if isinstance(event, TextDelta)])
    assert text.strip() == run.result.output == plain.output


async def test_a_streamed_run_equals_an_unstreamed_one(model: Path) -> None:
    agent = make_agent(SnapshotMarket(), f"llamacpp:{model}")
    plain = await agent.run(QUESTION)
    events: list[Event] = []
    async with agent.stream(QUESTION) as run:
        events.extend([event async for event in run])
    streamed = run.result
    assert streamed.output == plain.output
    assert streamed.status is plain.status
    assert streamed.trajectory.messages() == plain.trajectory.messages()
    assert any(isinstance(event, PlanMade) for event in events)
    started = [event.call for event in events if isinstance(event, ToolStarted)]
    assert started == [call for step in plain.steps for call in step.message.calls][: len(started)]
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert text.strip() == plain.output


async def test_a_cancelled_run_keeps_what_was_said_and_leaves_the_model_usable(
    backend: LlamaCppBackend,
) -> None:
    agent = Agent(backend, planning="off", sampling=Sampling(max_tokens=400))
    token = CancelToken()
    said = ""
    async with agent.stream("Count from 1 to 500, one number a line.", cancel=token) as run:
        async for event in run:
            if isinstance(event, TextDelta):
                said += event.text
                if len(said) > 20:
                    token.cancel()
    assert run.result.status is RunStatus.cancelled
    assert run.result.output is not None
    assert run.result.output.startswith(said[:20].lstrip())
    again = await agent.run("What is the capital of France? Answer in one word.")
    assert again.status is RunStatus.completed
    assert again.output is not None
    assert "Paris" in again.output


async def test_a_tool_error_reaches_the_model_and_the_run_goes_on(
    backend: LlamaCppBackend,
) -> None:
    @tool
    def get_price(gpu: str) -> float:
        """Price of a GPU model in USD per hour.

        Args:
            gpu: GPU model, for example "RTX 4090".
        """
        raise ToolError(f"the price list has no {gpu}")

    result = await Agent(backend, tools=[get_price], limits=Limits(max_steps=5)).run(
        "Get the price of an RTX 4090."
    )
    observations = [o for step in result.steps for o in step.observations]
    assert observations[0].is_error
    assert observations[0].content.startswith("Error: the price list has no ")
    assert len(result.steps) > 1
    assert result.status is RunStatus.completed


async def test_several_things_that_are_asked_for_are_called_in_one_message(
    backend: LlamaCppBackend,
) -> None:
    @tool
    async def weather(city: str) -> str:
        """Look up the weather of a city.

        Args:
            city: Name of the city.
        """
        return f"{city}: 4 degrees, rain"

    agent = Agent(backend, tools=[weather], sampling=Sampling(max_tokens=200))
    result = await agent.run("What is the weather in Oslo and in Rome?", limits=Limits(max_steps=1))
    (step,) = result.steps
    assert [(call.name, call.arguments) for call in step.message.calls] == [
        ("weather", {"city": "Oslo"}),
        ("weather", {"city": "Rome"}),
    ]
    assert result.plan is not None
    assert result.plan.text == "use the tool `weather` 2 times."
    assert step.usage.requests == 3, "the beginning and two drafts"


async def test_words_are_weighed_by_the_model(backend: LlamaCppBackend) -> None:
    async def odds(question: str) -> float:
        request = ModelRequest(
            (UserMessage(f"Answer yes or no: {question}"),), (), Sampling(), weigh=("Yes", "No")
        )
        async with backend.stream(request) as chunks:
            (end,) = [chunk async for chunk in chunks]
        assert isinstance(end, Finished)
        assert end.usage.completion_tokens == 0
        yes, no = end.weights
        assert max(yes, no) > math.log(0.3), "it answers in one of the words"
        return yes - no

    assert await odds("is Paris the capital of France?") > 0
    assert await odds("is Paris the capital of France?") > await odds("is 2 + 2 equal to 5?")
