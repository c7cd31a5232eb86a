"""What a streamed run looks like on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ling_agent import Agent, BackendUnavailable, Limits, RunContext, tool
from ling_agent.testing import ScriptedBackend
from ling_agent.view import RunView

from .helpers import call

pytestmark = pytest.mark.anyio


@tool
async def look(ctx: RunContext[None], item: str) -> str:
    """Look."""
    ctx.emit(f"looking for {item}")
    if item == "none":
        raise ValueError("[red]nothing[/red]")
    return f"{item} " * (300 if item == "long" else 1)


@tool(requires_approval=True)
async def buy(item: str) -> str:
    """Buy."""
    return item


ANSWER = "It is [bold]here[/bold]."


async def shown(*script: str | Exception, planning: str = "inline", **limits: int) -> str:
    agent = Agent(
        ScriptedBackend(script, chunk_size=2),
        tools=[look, buy],
        planning=planning,  # type: ignore[arg-type]
        limits=Limits(**limits),
    )
    output = io.StringIO()
    view = RunView(Console(file=output, width=200))
    async with agent.stream("x") as run:
        async for event in run:
            view.show(event)
    return output.getvalue()


async def test_plan_call_observation_answer_and_cost_in_this_order() -> None:
    text = await shown("Plan: look for it.\n" + call("look", item="gpu"), ANSWER)
    expected = ["look for it.", 'look(item="gpu")', "looking for gpu", "← result"]
    expected += ["Answer", "2 model"]
    places = [text.index(part) for part in expected]
    assert places == sorted(places)
    assert ANSWER in text, "text of a model is never markup"
    assert "<tool_call>" not in text


async def test_every_step_of_a_plan_is_shown() -> None:
    plan = "Plan:\n1. look\n2. answer"
    text = await shown(plan, call("look", item="a"), "a", planning="explicit")
    assert "1. look" in text
    assert "2. answer" in text


async def test_an_error_is_shown_as_it_is() -> None:
    text = await shown(call("look", item="none"), "sorry", planning="off")
    assert "[red]nothing[/red]" in text


async def test_a_long_observation_is_cut_and_says_so() -> None:
    text = await shown(call("look", item="long"), "a", planning="off")
    assert "1,500 characters" in text
    assert len(text) < 2000


async def test_what_ends_a_run_early_is_shown() -> None:
    assert "max_steps" in await shown(call("look", item="a"), planning="off", max_steps=1)
    waiting = await shown(call("buy", item="a"), planning="off")
    assert 'buy(item="a") needs approval' in waiting
    assert "needs_approval" in waiting
    failed = await shown(call("look", item="a"), BackendUnavailable("server gone"), planning="off")
    assert "failed: server gone" in failed


async def test_a_correction_is_shown() -> None:
    assert "Your answer was empty" in await shown("", "a", planning="off")


def test_a_console_is_made_when_none_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    from ling_agent.events import Correction

    RunView().show(Correction("again"))
    assert "again" in capsys.readouterr().out
