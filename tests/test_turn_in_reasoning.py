"""Prompts that end inside ``<think>``: an answer begins with reasoning that nothing opens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from ling_agent.backends.base import Backend, ModelRequest
from ling_agent.events import Event
from ling_agent.hermes import ReasoningDelta, TextDelta, render_call
from ling_agent.messages import UserMessage
from ling_agent.profiles import LING3
from ling_agent.testing import ScriptedBackend
from ling_agent.turn import FirstCall, Turn, TurnReader

from .helpers import StallingBackend

pytestmark = pytest.mark.anyio

TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
]
CALL = render_call("add", {"a": 1}, dialect="arg_key")
THOUGHT = f"Plan: add.\nI could write {CALL}"


async def _take(text: str) -> None: ...


def reader(
    emit: Callable[..., Awaitable[None]], on_plan: Callable[[str], Awaitable[None]] = _take
) -> TurnReader:
    return TurnReader(
        ModelRequest((UserMessage("Add."),), tuple(TOOLS)),
        step=1,
        bare_json=False,
        keep_raw=True,
        emit=emit,
        on_plan=on_plan,
        starts_in_reasoning=True,
    )


async def read(text: str, size: int) -> tuple[Turn, list[Event], list[str]]:
    told: list[Event] = []
    plans: list[str] = []

    async def emit(*events: Event) -> None:
        told.extend(events)

    async def adopt(plan: str) -> None:
        plans.append(plan)

    backend = ScriptedBackend([text], profile=LING3.with_thinking(True), chunk_size=size)
    return await reader(emit, adopt).read(backend), told, plans


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_what_stands_in_front_of_the_end_of_thinking_is_reasoning(size: int) -> None:
    text = f"{THOUGHT}</think>I add.\n{CALL}"
    turn, told, plans = await read(text, size)
    assert turn.message.reasoning == THOUGHT
    assert turn.answer == "I add."
    assert [call.arguments for call in turn.message.calls] == [{"a": 1}], "not the one thought of"
    assert turn.message.raw == text
    assert (turn.plan, plans) == ("", []), "a thought is no plan"
    kinds = [type(event) for event in told if isinstance(event, ReasoningDelta | TextDelta)]
    assert kinds == sorted(kinds, key=lambda kind: kind is TextDelta)


async def test_a_thought_without_an_end_holds_no_call() -> None:
    turn, _, _ = await read(THOUGHT, 5)
    assert (turn.answer, turn.message.calls, turn.failures) == ("", (), {})
    assert turn.message.reasoning == THOUGHT


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("I could", False),
        (f"I could {CALL}", False),
        ("Hm.</think>It is", True),
        ("Hm.</think><think>Or", False),
        (f"Hm.</think>{CALL[:-15]}", False),
        ("", False),
    ],
)
async def test_a_message_that_is_stopped_in_its_thought_is_not_repeated_as_written(
    text: str, kept: bool
) -> None:
    async def emit(*events: Event) -> None: ...

    backend: Backend = StallingBackend(text)
    reading = reader(emit)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def ask() -> None:
                await reading.read(backend)

            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    turn = reading.broken_off()
    assert reading.partial == text
    assert turn.message.raw == (text if kept else None)
    assert turn.message.calls == ()


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_the_first_call_of_a_message_is_behind_its_thought(size: int) -> None:
    first = FirstCall("", TOOLS, bare_json=False, starts_in_reasoning=True)
    text = f"{THOUGHT}</think>{CALL} and on"
    done = [first(text[at : at + size]) for at in range(0, len(text), size)]
    end = done.index(True) * size
    assert len(THOUGHT) + len("</think>") <= end + size
    assert end < len(text) - len(" and on")


def test_without_it_the_first_call_is_the_one_thought_of() -> None:
    assert FirstCall("", TOOLS, bare_json=False)(f"{THOUGHT}</think>")
