"""When a drafted call is made after all, and which drafted calls are not made together."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ling_agent import Agent, RunStatus, tool
from ling_agent.backends import ModelRequest
from ling_agent.hermes import TextDelta

from .helpers import observations, stream
from .test_drafting import OPENING, OSLO, PLAN, REST, agent_on, clock, listed, made, odds, small
from .test_drafting import weather as weather_tool

pytestmark = pytest.mark.anyio

CLOCK = made("clock", zone="Oslo")
BOTH = "The weather in Oslo, and what do clocks show there?"


@tool(requires_approval=True)
async def book(city: str) -> str:
    """Book a trip."""
    return city


@pytest.mark.parametrize(
    "words",
    [
        f"Here is the call:\n\n```json\n{OSLO}\n```",
        "You can use the `weather` function for that.",
        "weather(city='Oslo')",
    ],
)
async def test_words_that_show_the_call_are_given_up_for_it(words: str) -> None:
    backend = small(OPENING, listed(OSLO), words, PLAN, REST, "Cold.", weigh=odds(-9.0))
    events, result = await stream(agent_on(backend), "Weather in Oslo?")
    assert (result.output, observations(result)) == ("Cold.", ["Oslo None None"])
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "Cold.", "nobody saw them"
    assert all("function" not in (step.message.raw or "") for step in result.steps)
    assert result.usage.requests == len(backend.requests) == 7
    backend.assert_exhausted()


async def test_other_words_are_the_answer() -> None:
    backend = small(OPENING, listed(OSLO), "The weather is a state of the air.", weigh=odds(-9.0))
    result = await agent_on(backend).run("What is weather in Oslo?")
    assert (result.output, result.usage.tool_calls) == ("The weather is a state of the air.", 0)


@pytest.mark.parametrize("meant", [True, False])
async def test_another_tool_is_asked_about_before_it_is_called_too(meant: bool) -> None:
    asked: list[str] = []

    def weigh(request: ModelRequest) -> Sequence[float]:
        question = request.messages[-1].content
        asked.append("clock" if "clock" in question else "weather")
        return odds(9.0 if meant or asked[-1] == "weather" else -9.0)(request)

    rest = ["Fine."] if meant else [PLAN, REST, "Fine."]
    backend = small(OPENING, listed(OSLO, CLOCK), *rest, weigh=weigh)
    result = await agent_on(backend).run(BOTH)
    assert asked == (["clock"] if meant else ["clock", "weather"])
    expected = ["Oslo None None", "12:00 in Oslo"] if meant else ["Oslo None None"]
    assert observations(result) == expected


async def test_a_call_that_needs_consent_is_never_one_of_several() -> None:
    trip = made("book", city="Rome")
    backend = small(OPENING, listed(OSLO, trip), PLAN, REST, "Fine.")
    agent = Agent(backend, tools=[weather_tool, clock, book])
    result = await agent.run("Weather in Oslo, and book a trip to Rome?")
    assert (result.status, observations(result)) == (RunStatus.completed, ["Oslo None None"])
