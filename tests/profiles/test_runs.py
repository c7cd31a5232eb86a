"""A run on a model that writes calls with ``<arg_key>``, scripted."""

from __future__ import annotations

import pytest

from ling_agent import Agent, tool
from ling_agent.hermes import render_call
from ling_agent.planning import Planning
from ling_agent.profiles import LING3, RING26, Profile
from ling_agent.testing import ScriptedBackend

pytestmark = pytest.mark.anyio

CALL = render_call("look_up", {"city": "Oslo", "days": 2}, dialect="arg_key")


@tool
async def look_up(city: str, days: int) -> str:
    """The weather of a city."""
    return f"{city}: {days} days of rain"


@pytest.mark.parametrize("renders_prompts", [True, False])
async def test_calls_are_run_and_written_again_in_the_dialect(renders_prompts: bool) -> None:
    backend = ScriptedBackend(
        [CALL, "Rain."], profile=LING3, renders_prompts=renders_prompts, chunk_size=5
    )
    result = await Agent(backend, tools=[look_up], planning="off").run("The weather in Oslo?")
    assert result.output == "Rain."
    first, second = (backend.prompt(request) for request in backend.requests)
    assert second.startswith(first)
    answer = second.removeprefix(first).partition("<|role_end|>")[0]
    assert answer.removeprefix("\n<think></think>") == CALL
    assert "Oslo: 2 days of rain" in second


@pytest.mark.parametrize("planning", ["off", "inline"])
@pytest.mark.parametrize("profile", [LING3.with_thinking(True), RING26], ids=lambda p: p.name)
async def test_a_call_that_is_only_thought_of_is_not_made(
    planning: Planning, profile: Profile
) -> None:
    backend = ScriptedBackend(
        [f"Shall I {CALL}? Yes.</think>{CALL}", f"No {CALL} again.</think>Rain."],
        profile=profile,
        renders_prompts=True,
        chunk_size=5,
        parameters=10**9,
    )
    result = await Agent(backend, tools=[look_up], planning=planning).run("The weather in Oslo?")
    assert result.output == "Rain."
    assert result.usage.tool_calls == 1
    assert result.steps[0].message.reasoning == f"Shall I {CALL}? Yes."
    assert [request.prefill for request in backend.requests] == ["", ""]
    backend.assert_exhausted()


async def test_a_call_of_another_dialect_is_not_begun_for_the_model() -> None:
    backend = ScriptedBackend(
        ["<tool_call>look_up", "look_up`.\n", CALL, "Rain."],
        profile=LING3,
        renders_prompts=True,
        parameters=10**9,  # small: the calls of others of this size are drafted
    )
    result = await Agent(backend, tools=[look_up], planning="inline").run("The weather in Oslo?")
    assert result.output == "Rain."
    assert result.usage.tool_calls == 1
    assert all('{"name"' not in request.prefill for request in backend.requests)
