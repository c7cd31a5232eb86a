"""One turn of our agent: what it is shown, and which calls count."""

from __future__ import annotations

from typing import Any

import pytest

from ling_agent import ConfigurationError
from ling_agent.evals.subject import AgentSubject, Answer
from ling_agent.messages import AssistantMessage, SystemMessage, UserMessage
from ling_agent.planning import Planning
from ling_agent.testing import ScriptedBackend
from tests.helpers import call, calls

pytestmark = pytest.mark.anyio

TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}
ASKED = [{"role": "user", "content": "Add 1 and 2."}]


async def answer(
    *texts: Any,
    messages: list[dict[str, str]] = ASKED,
    planning: Planning | None = "off",
    max_steps: int = 1,
    **more: Any,
) -> tuple[Answer, ScriptedBackend]:
    backend = ScriptedBackend(texts, **more)
    subject = AgentSubject(backend, planning=planning, max_steps=max_steps)
    answered = await subject.answer(messages, [TOOL])
    backend.assert_exhausted()
    return answered, backend


def made(answered: Answer) -> list[dict[str, Any]]:
    return [dict(each["arguments"]) for each in answered.calls]


async def test_arguments_are_those_that_the_tool_gets() -> None:
    answered, _ = await answer(call("add", a="1", b=2.0))
    assert made(answered) == [{"a": 1, "b": 2}]
    assert all(type(value) is int for value in made(answered)[0].values())


async def test_a_refused_call_counts_as_it_was_written() -> None:
    answered, _ = await answer(call("add", a="one"))
    assert made(answered) == [{"a": "one"}]


async def test_a_call_of_an_unknown_tool_counts() -> None:
    texts = calls(call("add", a=1, b=2), call("subtract", a=1, b=2), call("add", a=3, b=4))
    answered, _ = await answer(texts)
    assert [each["name"] for each in answered.calls] == ["add", "subtract", "add"]
    assert [failure["kind"] for failure in answered.details["failures"]] == ["unknown_tool"]


async def test_what_cannot_be_read_is_no_call() -> None:
    answered, _ = await answer('<tool_call>\n{"name": "add", "arguments": 3}\n</tool_call>')
    assert answered.calls == ()
    assert [failure["name"] for failure in answered.details["failures"]] == ["add"]


async def test_several_calls_of_one_message_count_in_order() -> None:
    texts = calls(*(call("add", a=number, b=0) for number in range(5)))
    answered, _ = await answer(texts)
    assert [each["a"] for each in made(answered)] == [0, 1, 2, 3, 4]


async def test_words_are_no_call() -> None:
    answered, _ = await answer("It is 3.")
    assert (answered.calls, answered.content, answered.status) == ((), "It is 3.", "completed")


async def test_repairs_are_told() -> None:
    answered, _ = await answer("<tool_call>\n{'name': 'add', 'arguments': {'a': 1, 'b': 2}}")
    assert made(answered) == [{"a": 1, "b": 2}]
    assert answered.repairs


async def test_one_turn_is_one_message() -> None:
    answered, backend = await answer(call("add", a="one"))
    assert len(backend.requests) == 1
    assert (answered.status, answered.error) == ("max_steps", "")


async def test_more_messages_correct_what_was_refused() -> None:
    answered, backend = await answer(call("add", a="one"), call("add", a=1, b=2), max_steps=3)
    assert made(answered) == [{"a": 1, "b": 2}]
    assert (answered.status, answered.error) == ("completed", "")
    assert len(backend.requests) == 2


async def test_a_message_that_reached_a_tool_is_the_last() -> None:
    answered, _ = await answer(calls(call("add", a=1, b=2), call("add", a="one")), max_steps=3)
    assert made(answered)[0] == {"a": 1, "b": 2}
    assert answered.status == "completed"


@pytest.mark.parametrize("renders", [True, False])
async def test_the_system_message_is_the_instructions(renders: bool) -> None:
    messages = [{"role": "system", "content": "Be brief."}, *ASKED]
    answered, backend = await answer("3", messages=messages, renders_prompts=renders)
    assert backend.requests[0].messages == (
        SystemMessage("Be brief."),
        UserMessage("Add 1 and 2."),
    )
    assert "Be brief." in answered.prompt


async def test_a_conversation_stays_one() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello."},
        {"role": "user", "content": "Are you there?"},
        {"role": "assistant", "content": "Yes."},
        *ASKED,
    ]
    answered, backend = await answer(call("add", a=1, b=2), messages=messages)
    assert backend.requests[0].messages == (
        SystemMessage("Be brief."),
        UserMessage("Hello."),
        UserMessage("Are you there?"),
        AssistantMessage("Yes."),
        UserMessage("Add 1 and 2."),
    )
    assert made(answered) == [{"a": 1, "b": 2}]


async def test_all_texts_of_a_planned_turn_are_kept() -> None:
    opening, draft = call("add", a=0, b=0), "none"
    answered, _ = await answer(
        opening, draft, draft, "add` now\n", 'a": 1, "b": 2}}\n</tool_call>', planning=None,
        renders_prompts=True, parameters=500_000_000,
    )  # fmt: skip
    texts = answered.details["texts"]
    assert answered.usage.requests == len(texts) == 6
    assert (texts[0], texts[-1]) == (opening, ""), "the last one only asked how likely yes is"
    assert texts[1].endswith(draft)
    assert texts[3] == "Plan: use the tool `add` now\n"
    assert made(answered) == [{"a": 1, "b": 2}]
    assert answered.text == f"Plan: use the tool `add` now\n{call('add', a=1, b=2)}"
    assert answered.prompt.endswith('{"name": "add", "arguments": {"')


async def test_of_a_message_that_was_put_together_the_place_is_kept() -> None:
    opening, listed = call("add", a=0, b=0), '{"name": "add", "arguments": {"a": 1, "b": 2}}\n]'
    answered, _ = await answer(
        opening, "add(a=1, b=2)\n```", listed, "none`.", planning=None,
        renders_prompts=True, parameters=500_000_000,
    )  # fmt: skip
    assert made(answered) == [{"a": 1, "b": 2}]
    assert answered.text == f"Plan: use the tool `add`.\n{call('add', a=1, b=2)}"
    assert answered.prompt.endswith("<|im_start|>assistant\n")


async def test_answers_at_the_same_time_keep_apart() -> None:
    import anyio

    def echo(request: Any) -> str:
        return call("add", a=int(request.messages[-1].content), b=0)

    subject = AgentSubject(ScriptedBackend([echo] * 8), planning="off")
    found: dict[int, list[dict[str, Any]]] = {}

    async def ask(number: int) -> None:
        messages = [{"role": "user", "content": str(number)}]
        found[number] = made(await subject.answer(messages, [TOOL]))

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(ask, number)
    assert found == {number: [{"a": number, "b": 0}] for number in range(8)}


def test_an_unknown_observation_format_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="write compact, spaced, indented, lines"):
        AgentSubject(ScriptedBackend([]), observation="xml")
