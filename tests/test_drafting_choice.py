"""Which of several drafts is made, when a drafted call is made after all, and what runs alone."""

from __future__ import annotations

import json

import pytest

from ling_agent import Agent, RunStatus, tool
from ling_agent.demonstrations import COMMENTED, IN_PYTHON
from ling_agent.hermes import TextDelta
from ling_agent.hermes.python_calls import read_calls
from ling_agent.messages import AssistantMessage, UserMessage
from ling_agent.planning import INLINE_PREFILL

from .helpers import observations, stream
from .test_drafting import (
    OPENING,
    OSLO,
    PARIS,
    PLAN,
    REST,
    ROME,
    TASK,
    agent_on,
    clock,
    drafts,
    listed,
    made,
    odds,
    python,
    small,
)
from .test_drafting import weather as weather_tool

pytestmark = pytest.mark.anyio


@tool(requires_approval=True)
async def book(city: str) -> str:
    """Book a trip."""
    return city


# -- drafts that differ ---------------------------------------------------------------------------


async def test_where_several_calls_are_meant_lines_with_comments_decide() -> None:
    third = f"# the weather in Oslo\n{python(OSLO, end='')}\n# and in Rome\n{python(ROME)}"
    backend = small(OPENING, python(OSLO), listed(OSLO, ROME), third, "Fine.")
    result = await agent_on(backend).run(TASK)
    assert observations(result) == ["Oslo None None", "Rome None None"]
    request = backend.requests[3]
    assert request.tool_choice == "commented"
    assert request.messages == (*COMMENTED, UserMessage(TASK))
    backend.assert_exhausted()


async def test_two_of_three_that_mean_one_call_make_one() -> None:
    script = [python(OSLO), listed(OSLO, ROME), python(OSLO), PLAN, REST, "Fine."]
    backend = small(OPENING, *script)
    assert observations(await agent_on(backend).run(TASK)) == ["Oslo None None"]
    backend.assert_exhausted()


async def test_of_several_calls_those_win_that_take_up_most_of_the_request() -> None:
    all_three = "The weather in Oslo, in Rome and in Paris?"
    script = [python(OSLO, ROME), listed(OSLO, ROME, PARIS), python(OSLO, PARIS)]
    result = await agent_on(small(OPENING, *script, "Fine.")).run(all_three)
    assert [text.split()[0] for text in observations(result)] == ["Oslo", "Rome", "Paris"]


async def test_for_one_call_a_plan_names_the_tool() -> None:
    """Of drafts that take up the same of the request the planned one is made."""
    backend = small(OPENING, *drafts(made("clock", zone="Oslo")), PLAN, REST, "Fine.")
    result = await agent_on(backend).run("Oslo?")
    assert observations(result) == ["Oslo None None"]
    plan, call = backend.requests[3:5]
    assert plan.prefill == INLINE_PREFILL
    assert call.prefill.startswith(f"{INLINE_PREFILL}weather` for it.\n<tool_call>")
    assert plan.messages == call.messages == backend.requests[0].messages
    backend.assert_exhausted()


@pytest.mark.parametrize(("tool", "plan"), [("weather", " for it"), ("clock", "")])
async def test_a_fuller_draft_is_made_in_place_of_the_planned_call(tool: str, plan: str) -> None:
    fuller = made(tool, **({"city": "Oslo", "days": 3} if tool == "weather" else {"zone": "Oslo"}))
    rest = REST if tool == "weather" else 'city": "Rome"}}'
    backend = small(OPENING, *drafts(fuller), PLAN, rest, "Fine.")
    result = await agent_on(backend).run("What is it like in Oslo, for 3 days?")
    (call,) = result.steps[0].message.calls
    assert (call.name, call.arguments) == (tool, json.loads(fuller)["arguments"])
    assert result.plan is not None
    assert result.plan.text == f"use the tool `{tool}`{plan}."


async def test_another_tool_has_to_take_up_two_more() -> None:
    other = made("clock", zone="Oslo")
    backend = small(OPENING, *drafts(other), PLAN, 'city": "oslo", "unit": null}}', "Fine.")
    result = await agent_on(backend).run("What is it like in Oslo?")
    assert observations(result) == ["oslo None None"]
    backend = small(OPENING, *drafts(other), PLAN, 'city": "there"}}', "Fine.")
    assert observations(await agent_on(backend).run("The clocks in Oslo?")) == ["12:00 in Oslo"]


async def test_what_was_made_up_makes_no_difference() -> None:
    invented = made("weather", city="Oslo", unit="kelvin")
    backend = small(OPENING, python(OSLO), listed(invented), PLAN, REST, "Fine.")
    assert observations(await agent_on(backend).run("Oslo?")) == ["Oslo None None"]
    backend.assert_exhausted()


async def test_of_one_draft_that_can_be_read_its_call_may_be_made() -> None:
    backend = small(OPENING, python(OSLO), "No.", "none`.\n", "Fine.")
    assert observations(await agent_on(backend).run("Oslo?")) == ["Oslo None None"]
    backend.assert_exhausted()


# -- words in place of a call ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        f"Here is the call:\n\n```json\n{OSLO}\n```",
        "You can use the `weather` function for that.",
        "weather(city='Oslo')",
    ],
)
async def test_words_that_show_the_call_are_given_up_for_it(words: str) -> None:
    backend = small(OPENING, *drafts(OSLO), PLAN, REST, words, "Cold.", weigh=odds(-9.0))
    events, result = await stream(agent_on(backend), "Weather in Oslo?")
    assert (result.output, observations(result)) == ("Cold.", ["Oslo None None"])
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "Cold.", "nobody saw them"
    assert all("function" not in (step.message.raw or "") for step in result.steps)
    assert result.usage.requests == len(backend.requests) == 9
    backend.assert_exhausted()


@pytest.mark.parametrize(
    "words",
    [
        "The weather is a state of the air.",
        "```python\ndef weather(city):\n    return 'cold'\n\nweather('Oslo')\n```",
    ],
)
async def test_other_words_are_the_answer(words: str) -> None:
    backend = small(OPENING, *drafts(OSLO), PLAN, REST, words, weigh=odds(-9.0))
    result = await agent_on(backend).run("What is weather in Oslo?")
    assert (result.output, result.usage.tool_calls) == (words, 0)


# -- calls that need somebody's consent -----------------------------------------------------------


async def test_a_call_that_needs_consent_is_never_one_of_several() -> None:
    trip = made("book", city="Rome")
    backend = small(OPENING, *drafts(OSLO, trip), "Fine.")
    agent = Agent(backend, tools=[weather_tool, clock, book])
    result = await agent.run("Weather in Oslo, and book a trip to Rome?")
    assert (result.status, observations(result)) == (RunStatus.completed, ["Oslo None None"])


async def test_a_call_that_needs_consent_is_made_alone_where_it_comes_first() -> None:
    trip = made("book", city="Rome")
    backend = small(OPENING, *drafts(trip, OSLO), "Fine.")
    agent = Agent(backend, tools=[weather_tool, clock, book])
    result = await agent.run("Book a trip to Rome, and the weather in Oslo?")
    assert result.status is RunStatus.needs_approval
    assert [call.name for call in result.pending_approvals] == ["book"]


# -- what is shown --------------------------------------------------------------------------------


def test_demonstrations_can_be_read_as_drafts_are() -> None:
    for messages, most in ((IN_PYTHON, 6), (COMMENTED, 3)):
        requests, answers = messages[::2], messages[1::2]
        assert len(requests) == len(answers) == most
        assert all(isinstance(message, UserMessage) for message in requests)
        for answer in answers:
            assert isinstance(answer, AssistantMessage)
            assert answer.raw == answer.content
    names = ["set_lamp", "mountain_height", "convert_currency", "local_time", "find_train"]
    names += ["find_flat", "send_message", "play_song"]
    calls = [
        call
        for answer in IN_PYTHON[1::2]
        for call in read_calls(answer.content.removeprefix("```python\n"), names)
    ]
    assert [call["name"] for call in calls] == [
        *("set_lamp", "mountain_height", "mountain_height", "convert_currency", "local_time"),
        *("find_train", "find_flat", "send_message", "play_song"),
    ]
    written = [call["arguments"] for call in calls if call["name"] == "set_lamp"]
    assert written == [{"room": "kitchen", "on": True}]
