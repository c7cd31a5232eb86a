"""Which of several drafts is made, when a drafted call is made after all, and what runs alone."""

from __future__ import annotations

import pytest

from ling_agent import Agent, RunStatus, tool
from ling_agent.demonstrations import COMMENTED, IN_PYTHON, ONE_CALL
from ling_agent.hermes import TextDelta, render_call
from ling_agent.hermes.python_calls import read_calls
from ling_agent.messages import AssistantMessage, UserMessage

from .helpers import observations, stream
from .test_drafting import (
    OPENING,
    OSLO,
    PARIS,
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

TAGGED = "<tool_call>\n{}\n</tool_call>"


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
    backend = small(OPENING, python(OSLO), listed(OSLO, ROME), python(OSLO), "Fine.")
    assert observations(await agent_on(backend).run(TASK)) == ["Oslo None None"]
    backend.assert_exhausted()


async def test_of_several_calls_those_win_that_take_up_most_of_the_request() -> None:
    all_three = "The weather in Oslo, in Rome and in Paris?"
    script = [python(OSLO, ROME), listed(OSLO, ROME, PARIS), python(OSLO, PARIS)]
    result = await agent_on(small(OPENING, *script, "Fine.")).run(all_three)
    assert [text.split()[0] for text in observations(result)] == ["Oslo", "Rome", "Paris"]


@pytest.mark.parametrize(("third", "wins"), [(OSLO, "Oslo"), (ROME, "Rome")])
async def test_of_two_single_calls_that_differ_a_third_decides(third: str, wins: str) -> None:
    backend = small(OPENING, python(OSLO), listed(ROME), TAGGED.format(third), "Fine.")
    result = await agent_on(backend).run(TASK)
    assert observations(result) == [f"{wins} None None"]
    request = backend.requests[3]
    assert request.tool_choice == "required"
    assert request.messages == (*ONE_CALL, UserMessage(TASK))


async def test_of_three_single_calls_that_differ_the_one_wins_that_holds_most() -> None:
    fuller = made("weather", city="Oslo", days=3)
    other = TAGGED.format(made("clock", zone="Oslo"))
    backend = small(OPENING, python(OSLO), listed(fuller), other, "Fine.")
    result = await agent_on(backend).run("The weather in Oslo for 3 days?")
    assert observations(result) == ["Oslo 3 None"]


async def test_what_was_made_up_makes_no_difference() -> None:
    invented = made("weather", city="Oslo", unit="kelvin")
    backend = small(OPENING, python(OSLO), listed(invented), "Fine.")
    assert observations(await agent_on(backend).run("Oslo?")) == ["Oslo None None"]
    backend.assert_exhausted()


async def test_of_one_draft_that_can_be_read_a_third_is_still_asked_for() -> None:
    backend = small(OPENING, "I cannot.", listed(OSLO), "No.", "Fine.")
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
    backend = small(OPENING, *drafts(OSLO), words, "Cold.", weigh=odds(-9.0))
    events, result = await stream(agent_on(backend), "Weather in Oslo?")
    assert (result.output, observations(result)) == ("Cold.", ["Oslo None None"])
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "Cold.", "nobody saw them"
    assert all("function" not in (step.message.raw or "") for step in result.steps)
    assert result.usage.requests == len(backend.requests) == 7
    backend.assert_exhausted()


@pytest.mark.parametrize(
    "words",
    [
        "The weather is a state of the air.",
        "```python\ndef weather(city):\n    return 'cold'\n\nweather('Oslo')\n```",
    ],
)
async def test_other_words_are_the_answer(words: str) -> None:
    backend = small(OPENING, *drafts(OSLO), words, weigh=odds(-9.0))
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
    for messages, most in ((IN_PYTHON, 6), (COMMENTED, 3), (ONE_CALL, 3)):
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
    assert ONE_CALL[1].content == render_call("set_lamp", {"room": "kitchen", "on": True})
