"""`Agent.with_options`: copies that share the model and the memory."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ling_agent import Agent, ConfigurationError, Limits, Memory, Sampling, tool
from ling_agent.backends import LlamaCppBackend
from ling_agent.testing import ScriptedBackend

from .helpers import call, observations

pytestmark = pytest.mark.anyio


@tool
async def look(item: str) -> str:
    """Look."""
    return f"{item} is here"


async def test_a_copy_shares_the_model_and_the_memory() -> None:
    backend = ScriptedBackend(["one", "two"])
    agent = Agent(backend, instructions="Be brief.", name="first")
    copy = agent.with_options(name="second")
    assert (copy.name, copy.instructions, agent.name) == ("second", "Be brief.", "first")
    assert copy.memory is agent.memory
    assert copy.backend is agent.backend
    await agent.run("x", session="s")
    assert (await copy.run("y", session="s")).output == "two"
    assert len(backend.requests) == 2
    assert "one" in str(backend.requests[1].messages)


async def test_a_copy_goes_on_with_the_runs_of_the_first() -> None:
    agent = Agent(ScriptedBackend([call("look", item="x"), "done"]), tools=[look], planning="off")
    result = await agent.run("x", limits=Limits(max_steps=1))
    assert (await agent.with_options(sampling=Sampling(seed=1)).resume(result.run_id)).ok


def test_the_model_of_a_backend_string_is_opened_once() -> None:
    agent = Agent("llamacpp:qwen2.5-coder-0.5b")
    copies = [agent.with_options(name="a"), agent.with_options(name="b").with_options(name="c")]
    for copy in copies:
        assert copy.backend == "llamacpp:qwen2.5-coder-0.5b"
        assert opened(copy) is opened(agent)
    with_profile = copies[1].with_options(profile="chatml")
    assert isinstance(opened(with_profile), LlamaCppBackend)
    assert opened(with_profile) is not opened(agent)
    assert with_profile.profile == "chatml"


def opened(agent: Agent[Any]) -> object:
    return agent._configuration.backend  # pyright: ignore[reportPrivateUsage]


def test_each_argument_can_be_changed() -> None:
    memory = Memory()
    changes: dict[str, Any] = {
        "backend": ScriptedBackend([]),
        "tools": [look],
        "instructions": "i",
        "output_type": int,
        "planning": "off",
        "memory": memory,
        "limits": Limits(max_steps=1),
        "sampling": Sampling(seed=1),
        "name": "n",
        "deps_type": int,
        "hooks": [],
        "approve": lambda request: True,  # pyright: ignore[reportUnknownLambdaType]
        "secrets": ["a secret"],
    }
    agent = Agent(ScriptedBackend([]))
    for name, value in changes.items():
        copy = agent.with_options(**{name: value})
        kept = getattr(copy, name)
        assert kept == (tuple(value) if isinstance(value, list) else value), name  # pyright: ignore
    both = agent.with_options(**changes)
    assert both.memory is memory


def test_unknown_names_are_one_clear_line() -> None:
    with pytest.raises(ConfigurationError, match="an agent has no tool; it has backend, tools"):
        Agent(ScriptedBackend([])).with_options(tool=[look])
    with pytest.raises(ConfigurationError, match="an agent has no _own_memory"):
        Agent(ScriptedBackend([])).with_options(_own_memory=True)


def test_values_are_checked_as_when_an_agent_is_made() -> None:
    agent = Agent(ScriptedBackend([]))
    with pytest.raises(ConfigurationError, match="planning"):
        agent.with_options(planning="sometimes")
    with pytest.raises(ConfigurationError, match="given twice"):
        agent.with_options(tools=[look, look])


async def test_whether_a_memory_was_given_is_kept_for_sub_agents() -> None:
    own = Memory()
    inner = Agent(ScriptedBackend(["a"]), memory=own, name="inner").with_options(planning="off")
    outer = Agent(
        ScriptedBackend([call("inner", task="x"), "done"]), tools=[inner.as_tool()], planning="off"
    )
    await outer.run("x", session="s")
    assert "s/call_1_0" in own.store
    shared = Agent(ScriptedBackend(["a"]), name="inner").with_options(planning="off")
    outer = Agent(
        ScriptedBackend([call("inner", task="x"), "done"]), tools=[shared.as_tool()], planning="off"
    )
    await outer.run("x", session="s")
    assert "s/call_1_0" in outer.memory.store


class Careful(Agent[str]):
    """One with an attribute and an `__init__` of its own."""

    def __init__(self, words: list[str]) -> None:
        super().__init__(ScriptedBackend(words), planning="off")
        vars(self)["words"] = words

    @property
    def count(self) -> int:
        return len(vars(self)["words"])


async def test_the_copy_of_a_subclass_is_one_of_it() -> None:
    agent = Careful(["one", "two"])
    copy = agent.with_options(name="second")
    assert isinstance(copy, Careful)
    assert (copy.count, copy.name, agent.name) == (2, "second", "agent")
    assert (await copy.run("x")).output == "one"


@pytest.mark.parametrize("name", ["name", "tools", "backend", "anything"])
def test_agents_do_not_change(name: str) -> None:
    agent = Agent(ScriptedBackend([]))
    for each in (agent, agent.with_options(name="b")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(each, name, "x")
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(each, name)


def test_a_list_that_is_changed_afterwards_changes_nothing() -> None:
    tools = [look]
    agent = Agent(ScriptedBackend([]), tools=tools)
    tools.clear()
    assert agent.tools == (look,)


async def test_observations_of_a_copy_with_other_tools() -> None:
    agent = Agent(ScriptedBackend([call("look", item="x"), "done"]), planning="off")
    result = await agent.with_options(tools=[look]).run("x")
    assert observations(result) == ["x is here"]
