"""Every prompt begins with the prompt before it and the text that was generated: byte for byte."""

from __future__ import annotations

from itertools import pairwise

import pytest

from ling_agent import Agent, Limits, tool
from ling_agent.planning import CallOpening, Planning
from ling_agent.profiles import PROFILES, Profile
from ling_agent.testing import ScriptedBackend

from .helpers import call, calls

pytestmark = pytest.mark.anyio

SWITCHED = [
    profile.with_thinking(on)
    for profile in PROFILES.values()
    if profile.thinking.templates
    for on in (True, False)
]
EVERY_PROFILE = pytest.mark.parametrize(
    "profile", [*PROFILES.values(), *SWITCHED], ids=lambda profile: profile.name
)

BROKEN = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": }}\n</tool_call>'
ODD = '<tool_call>{ "arguments":{"b":2 , "a" : 1},"name":"add" }</tool_call>'


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    if a < 0:
        raise ValueError("negative")
    return a + b


SCRIPTS: dict[str, tuple[Planning, list[str]]] = {
    "calls": ("off", [call("add", a=1, b=2), calls(call("add", a=3, b=4), ODD), "done"]),
    "odd spacing": ("off", ["  I call:  " + ODD + "\n", " done \n"]),
    "reasoning": ("off", ["<think>\nhm\n</think>\n\n" + ODD, "done"]),
    "mistakes": ("off", [BROKEN, "", ODD, call("add", a="x", b=1), "done"]),
    "repetitions": ("off", [ODD, ODD, "done"]),
    "inline": ("inline", ["<tool_call>", "add`.\n", 'a": 1, "b": 2}}\n</tool_call>', "done"]),
    "inline, no tool named": ("inline", ["<tool_call>", "sum`.\n", ODD, "done"]),
    "inline, in words": ("inline", ["It is 3."]),
    "explicit": ("explicit", [" add\n2. answer", ODD, "done"]),
    "explicit, revised": (
        "explicit",
        [" add\n2. answer", call("add", a=-1, b=1), " add again", ODD, "done"],
    ),
    "unicode": ("off", ["Grüße 🎉 " + ODD, "done"]),
}


def script_of(name: str, profile: Profile) -> tuple[Planning, list[str]]:
    """The replies as they are for this profile.

    A call of another dialect is not begun for the model. A message that begins with reasoning is
    begun in nothing, so that its plan, too, comes as one.
    """
    planning, script = SCRIPTS[name]
    if profile.starts_in_reasoning:
        if len(script) > 1 and planning == "inline":
            script = [ODD, "done"]
        if planning == "explicit":
            script = [f"Plan:\n1.{text}" if text.startswith(" ") else text for text in script]
        return planning, [f"hm, Plan: none\n</think>{text}" for text in script]
    if profile.dialect != "json" and planning == "inline":
        script = [ODD if text.startswith("a") and "}}" in text else text for text in script]
    return planning, script


def check(backend: ScriptedBackend, script: list[str], profile: Profile) -> None:
    requests = backend.requests
    prompts = [backend.prompt(request) + request.prefill for request in requests]
    assert len(prompts) == len(script)
    for index, (earlier, later) in enumerate(pairwise(prompts)):
        # What follows the plan of an inline plan belongs to the same message.
        same_message = requests[index].messages == requests[index + 1].messages
        prefix = earlier + script[index].rstrip() if same_message else earlier + script[index]
        if isinstance(requests[index].stop_when, CallOpening):
            # The one exception: it only asks whether the message opens with a call, and what it
            # generated gives way to the plan.
            prefix = earlier
        prefix += "" if same_message else profile.turn_end
        assert later.startswith(prefix), f"request {index + 2} does not extend the one before"
    assert len({str(request.tools) for request in backend.requests}) == 1


@EVERY_PROFILE
@pytest.mark.parametrize("name", SCRIPTS)
async def test_each_request_extends_the_one_before(name: str, profile: Profile) -> None:
    planning, script = script_of(name, profile)
    backend = ScriptedBackend(script, renders_prompts=True, profile=profile, chunk_size=3)
    await Agent(backend, tools=[add], planning=planning, instructions="Be brief.").run("Add.")
    check(backend, script, profile)


@EVERY_PROFILE
async def test_also_over_the_tasks_of_a_session_and_a_resumed_run(profile: Profile) -> None:
    script = [ODD, "3", call("add", a=5, b=5), "10"]
    if profile.starts_in_reasoning:
        script = [f"hm</think>{text}" for text in script]
    backend = ScriptedBackend(script, renders_prompts=True, profile=profile)
    agent = Agent(backend, tools=[add], planning="off")
    await agent.run("Add.", session="s")
    result = await agent.run("Again.", session="s", limits=Limits(max_steps=1))
    await agent.resume(result.run_id)
    check(backend, script, profile)


async def test_two_runs_send_the_same_bytes() -> None:
    prompts: list[list[str]] = []
    for _ in range(2):
        backend = ScriptedBackend([call("add", a=1, b=2), "3"], renders_prompts=True)
        await Agent(backend, tools=[add], planning="off").run("Add.")
        prompts.append([backend.prompt(request) for request in backend.requests])
    assert prompts[0] == prompts[1]
