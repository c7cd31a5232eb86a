"""Model requests: an inline plan in front of a call, what is counted, what a broken one leaves."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from ling_agent import (
    Agent,
    BackendError,
    BackendUnavailable,
    Limits,
    RunStatus,
    ToolError,
    tool,
)
from ling_agent.backends import Backend, Chunk, ModelInfo, ModelRequest, TextChunk
from ling_agent.events import PlanMade, StepFinished, StepStarted
from ling_agent.hermes import CallFailed, CallParsed, CallStarted, TextDelta
from ling_agent.messages import AssistantMessage, UserMessage
from ling_agent.planning import CARRY_OUT, REVISE, answer_note
from ling_agent.testing import ScriptedBackend
from ling_agent.testing.scripted import Scripted

from .helpers import StallingBackend, call, kinds, observations, stream

pytestmark = pytest.mark.anyio

OPENING = '```json\n{"name": "add"'
PLAN = "add` to sum.\n"
ARGUMENTS = 'a": 1, "b": 2}}'
ALL_ARGUMENTS = f' {{"{ARGUMENTS}\n</tool_call>'
NO_DRAFT = ("", "")  # in which a small model says no call
"""What a small model means to call, asked aside; whether it is meant uses no reply."""


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    if a < 0:
        raise ValueError("negative")
    return a + b


def embedded(*script: Scripted) -> ScriptedBackend:
    """A backend that renders prompts itself, as the embedded one does."""
    return ScriptedBackend(script, renders_prompts=True, chunk_size=4, parameters=500_000_000)


def large(*script: Scripted) -> ScriptedBackend:
    """One whose plans are no drafts."""
    return ScriptedBackend(script, renders_prompts=True, chunk_size=4)


async def test_a_model_that_answers_in_words_is_not_made_to_act() -> None:
    backend = embedded("Paris.")
    events, result = await stream(Agent(backend, tools=[add]), "Capital of France?")
    assert (result.output, result.plan, result.usage.requests) == ("Paris.", None, 1)
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "Paris."
    assert backend.requests[0].messages == (UserMessage("Capital of France?"),)


async def test_a_model_that_acts_says_first_what_it_means_to_do() -> None:
    backend = embedded(OPENING, *NO_DRAFT, PLAN, ARGUMENTS + "\nand then it makes up", "3")
    events, result = await stream(Agent(backend, tools=[add]), "1 + 2?")
    assert (result.output, observations(result)) == ("3", ["3"])
    assert result.plan is not None
    assert result.plan.text == "use the tool `add` to sum."
    message = result.steps[0].message
    assert message.raw == (
        "Plan: use the tool `add` to sum.\n<tool_call>\n"
        '{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>'
    )
    shown = [e for e in events if isinstance(e, PlanMade | CallStarted)]
    assert [type(e) for e in shown] == [PlanMade, CallStarted], "the opening was not shown"
    assert (len(result.steps), result.usage.requests) == (2, 7)
    choices = [request.tool_choice for request in backend.requests]
    assert choices == ["auto", "python", "listed", *["auto"] * 4]
    backend.assert_exhausted()


async def test_a_large_model_may_make_several_calls_and_is_not_told_to_answer() -> None:
    more = ' {"' + ARGUMENTS + "\n</tool_call>\n" + call("add", a=3, b=4)
    script = [OPENING, PLAN, more, "3 and 7"]
    backend = ScriptedBackend(script, renders_prompts=True, chunk_size=4)
    result = await Agent(backend, tools=[add]).run("1 + 2, and 3 + 4?")
    assert (result.output, observations(result)) == ("3 and 7", ["3", "7"])
    assert "note" not in kinds(result)


async def test_an_answer_in_json_is_no_call() -> None:
    backend = embedded('{"sum": 3}')
    result = await Agent(backend, tools=[add]).run("1 + 2, as JSON?")
    assert (result.output, result.usage.requests) == ('{"sum": 3}', 1)


async def test_words_with_a_call_behind_them_are_read_as_they_are() -> None:
    backend = embedded("I add them.\n" + call("add", a=1, b=2), "3")
    result = await Agent(backend, tools=[add]).run("1 + 2?")
    assert (result.output, observations(result)) == ("3", ["3"])


async def test_a_model_whose_plan_is_carried_out_is_asked_to_answer_once() -> None:
    backend = embedded(OPENING, *NO_DRAFT, PLAN, ARGUMENTS, call("add", a=3, b=3), "9")
    result = await Agent(backend, tools=[add]).run("1 + 2 + 3 + 3?")
    assert observations(result) == ["3", "6"], "it may still call"
    assert result.output == "9"
    notes = [entry.text for entry in result.trajectory if entry.kind == "note"]
    assert notes == [answer_note("1 + 2 + 3 + 3?", small=True)]


async def test_a_failed_call_does_not_carry_out_the_plan() -> None:
    backend = embedded(OPENING, *NO_DRAFT, PLAN, 'a": -1, "b": 2}}', "It cannot be done.")
    result = await Agent(backend, tools=[add]).run("-1 + 2?")
    assert "note" not in kinds(result)


async def test_a_server_is_not_told_that_the_plan_is_carried_out() -> None:
    backend = ScriptedBackend(["Plan: add.\n" + call("add", a=1, b=2), "3"])
    result = await Agent(backend, tools=[add]).run("1 + 2?")
    assert "note" not in kinds(result)


async def test_a_backend_that_fails_behind_the_plan_leaves_a_result() -> None:
    backend = large(OPENING, PLAN, BackendUnavailable("gone"), ALL_ARGUMENTS, "3")
    agent = Agent(backend, tools=[add])
    result = await agent.run("1 + 2?")
    assert (result.status, result.usage.requests) == (RunStatus.failed, 3)
    assert result.plan is not None
    resumed = await agent.resume(result.run_id)
    assert (resumed.output, resumed.usage.requests) == ("3", 2), "the plan is not made again"
    backend.assert_exhausted()


async def test_a_token_limit_behind_the_plan_is_no_answer_and_can_be_resumed() -> None:
    backend = large(OPENING, PLAN, ALL_ARGUMENTS, "3")
    probe = large(OPENING, PLAN, ALL_ARGUMENTS, "3")
    whole = await Agent(probe, tools=[add]).run("1 + 2?")
    spent = [e.data for e in whole.trajectory if e.kind == "usage"][:2]
    tokens = sum(int(d["prompt_tokens"]) + int(d["completion_tokens"]) for d in spent)
    agent = Agent(backend, tools=[add])
    result = await agent.run("1 + 2?", limits=Limits(max_total_tokens=tokens + 10))
    assert (result.status, result.output) == (RunStatus.max_tokens, None)
    assert result.plan is not None
    assert (await agent.resume(result.run_id)).output == "3"
    backend.assert_exhausted()


async def test_a_request_that_is_cut_off_counts() -> None:
    agent = Agent(StallingBackend("half"), planning="off")
    result = await agent.run("x", limits=Limits(timeout=0.05))
    assert (result.status, result.usage.requests, result.output) == (RunStatus.timeout, 1, "half")


async def test_half_a_call_is_no_answer_but_is_kept() -> None:
    agent = Agent(StallingBackend('<tool_call>\n{"name": "add", "argu'), tools=[add])
    result = await agent.run("x", limits=Limits(timeout=0.05))
    assert result.output is None
    assert '{"name": "add", "argu' in list(result.trajectory)[-1].data["partial"]


class BreakingOff(Backend):
    """A stream that ends without its last chunk, as a cut connection would."""

    def __init__(self, text: str) -> None:
        self._text = text

    @property
    def name(self) -> str:
        return "breaking off"

    async def describe(self) -> ModelInfo:
        return ModelInfo("breaking off")

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Chunk], None]:
        async with aclosing(self._chunks()) as chunks:
            yield chunks

    async def _chunks(self) -> AsyncGenerator[Chunk, None]:
        if self._text:
            yield TextChunk(self._text)


async def test_a_stream_that_breaks_off_is_no_complete_answer() -> None:
    result = await Agent(BreakingOff("half of an ans")).run("x")
    assert (result.status, result.output) == (RunStatus.failed, "half of an ans")
    with pytest.raises(BackendError, match="breaking off broke off its answer"):
        await Agent(BreakingOff("")).run("x")


async def test_a_revision_that_a_limit_forbade_is_asked_for_once_when_resumed() -> None:
    plan = "Plan:\n1. add"
    script = [plan, call("add", a=-1, b=1), plan, call("add", a=1, b=1), "2"]
    backend = ScriptedBackend(script)
    agent = Agent(backend, tools=[add], planning="explicit")
    result = await agent.run("x", limits=Limits(max_steps=2))
    assert result.status is RunStatus.max_steps
    resumed = await agent.resume(result.run_id)
    assert resumed.output == "2"
    assert resumed.plan is not None
    assert resumed.plan.revision == 1
    notes = [m.content for m in resumed.trajectory.messages() if isinstance(m, UserMessage)]
    assert notes.count(REVISE) == 1
    assert isinstance(resumed.trajectory.messages()[-1], AssistantMessage)


async def test_an_explicit_plan_ends_where_its_list_does() -> None:
    plan = " add them\n2. answer"
    backend = embedded(plan + "\n\nBased on this plan I will", call("add", a=1, b=2), "3")
    events, result = await stream(Agent(backend, tools=[add], planning="explicit"), "1 + 2?")
    assert result.output == "3"
    assert result.plan is not None
    assert [step.text for step in result.plan.steps] == ["add them", "answer"]
    assert result.steps[0].message.raw == "Plan:\n1." + plan
    assert "Based" not in "".join(e.text for e in events if isinstance(e, TextDelta))
    assert backend.requests[1].messages[1] == result.steps[0].message


@tool(name="get")
async def get(gpu: str) -> str:
    """Get."""
    return gpu


@tool(name="get-price")
async def get_price(gpu: str) -> str:
    """Get a price."""
    return f"price of {gpu}"


async def test_of_two_names_that_begin_alike_the_longer_one_is_called() -> None:
    backend = embedded(OPENING, *NO_DRAFT, "get-price` for it.\n", 'gpu": "A"}}', "fin")
    result = await Agent(backend, tools=[get, get_price]).run("Price of A?")
    assert observations(result) == ["price of A"]


@pytest.mark.parametrize("parameters", [5, None])
async def test_a_plan_request_is_read_as_a_plan_and_nothing_else(parameters: int | None) -> None:
    whole = "add` " + call("add", a=7, b=7)
    script = [OPENING, whole, ' {"a": 1, "b": 2}}', "3"]
    if parameters is not None:
        script = [OPENING, *NO_DRAFT, whole, ARGUMENTS, "3"]
    backend = ScriptedBackend(script, renders_prompts=True, chunk_size=1, parameters=parameters)
    events, result = await stream(Agent(backend, tools=[add]), "1 + 2?")
    assert observations(result) == ["3"]
    assert len([e for e in events if isinstance(e, CallParsed)]) == 1
    assert not [e for e in events if isinstance(e, CallFailed)]
    backend.assert_exhausted()


@pytest.mark.parametrize("chunk_size", [None, 1, 3])
async def test_chunks_of_a_scripted_model_do_not_matter(chunk_size: int | None) -> None:
    @tool
    async def now() -> str:
        """The time."""
        return "12:00"

    script = ["<tool_call>", *NO_DRAFT, "now`\n", "}}\n</tool_call>", "noon"]
    backend = ScriptedBackend(script, renders_prompts=True, chunk_size=chunk_size, parameters=5)
    result = await Agent(backend, tools=[now]).run("Time?")
    assert (observations(result), result.output) == (["12:00"], "noon")


async def test_a_large_model_may_leave_out_what_has_a_default() -> None:
    @tool
    async def listing(limit: int = 3) -> str:
        """List."""
        return f"{limit} things"

    backend = ScriptedBackend(
        ["<tool_call>", "listing`\n", " {}}\n</tool_call>", "3"], renders_prompts=True
    )
    result = await Agent(backend, tools=[listing]).run("List.")
    assert observations(result) == ["3 things"]


async def test_a_new_call_after_a_repeated_one_is_free_again() -> None:
    script = [call("add", a=1, b=1)] * 2 + [call("add", a=n, b=n) for n in (2, 3)] + ["6"]
    backend = ScriptedBackend(script)
    result = await Agent(backend, tools=[add], planning="off").run("Add.")
    assert result.output == "6"
    assert [r.tool_choice for r in backend.requests] == ["auto", "auto", "none", "auto", "auto"]


async def test_without_calls_the_answer_is_asked_for_at_once() -> None:
    backend = embedded("Three.")
    result = await Agent(backend, tools=[add]).run("1 + 2?", limits=Limits(max_tool_calls=0))
    assert result.output == "Three."
    assert [r.tool_choice for r in backend.requests] == ["none"]


async def test_a_used_up_call_that_failed_asks_for_no_new_plan() -> None:
    @tool
    async def fail(x: str) -> str:
        """Fail."""
        raise ToolError("no luck")

    backend = ScriptedBackend(["Plan:\n1. a\n2. b", call("fail", x="A"), "It failed."])
    agent = Agent(backend, tools=[fail], planning="explicit", limits=Limits(max_tool_calls=1))
    result = await agent.run("Try.")
    assert result.output == "It failed."
    notes = [entry.text for entry in result.trajectory if entry.kind == "note"]
    assert REVISE not in notes


async def test_a_backend_that_fails_behind_a_paid_request_leaves_a_result() -> None:
    backend = embedded(OPENING, BackendUnavailable("gone"))
    result = await Agent(backend, tools=[add]).run("1 + 2?")
    assert (result.status, result.usage.requests) == (RunStatus.failed, 2)
    assert result.usage.completion_tokens > 0


@pytest.mark.parametrize(
    ("answer", "note"), [("", "Your answer was empty"), ("Plan: add.", CARRY_OUT)]
)
async def test_a_resumed_run_is_told_what_was_wrong(answer: str, note: str) -> None:
    backend = ScriptedBackend([answer] * 3 + ["3"])
    agent = Agent(backend, tools=[add])
    result = await agent.run("1 + 2?")
    assert result.status is RunStatus.failed
    resumed = await agent.resume(result.run_id)
    assert resumed.output == "3"
    assert [m.content for m in resumed.trajectory.messages() if isinstance(m, UserMessage)][
        -1
    ].startswith(note)


async def test_a_step_that_a_limit_cuts_in_two_is_finished() -> None:
    probe = embedded(OPENING, *NO_DRAFT, PLAN, ARGUMENTS, "3")
    whole = await Agent(probe, tools=[add]).run("1 + 2?")
    spent = [e.data for e in whole.trajectory if e.kind == "usage"][:4]
    tokens = sum(int(d["prompt_tokens"]) + int(d["completion_tokens"]) for d in spent)
    agent = Agent(embedded(OPENING, *NO_DRAFT, PLAN), tools=[add])
    events, result = await stream(agent, "1 + 2?", limits=Limits(max_total_tokens=tokens + 10))
    assert result.status is RunStatus.max_tokens
    steps = [type(e) for e in events if isinstance(e, StepStarted | StepFinished)]
    assert steps == [StepStarted, StepFinished]
