"""Conversations with the simulated classes: the ground truth through our own loop, and spoiled."""

from __future__ import annotations

from typing import Any

import pytest

from ling_agent import BackendUnavailable, ContextOverflow
from ling_agent.evals.benchmark import Case, Outcome, Selection
from ling_agent.evals.bfcl import BFCL, MULTI_TURN
from ling_agent.evals.bfcl.data import of_category, select
from ling_agent.evals.bfcl.multi_turn import judge_conversation, step_limit
from ling_agent.evals.bfcl.package import module
from ling_agent.evals.subject import AgentSubject
from ling_agent.messages import ToolMessage, UserMessage
from ling_agent.testing import ScriptedBackend
from ling_agent.testing.scripted import Scripted

from .truth import parsed, replies, written

pytestmark = pytest.mark.anyio

BASE = "multi_turn_base"


def backend_of(texts: list[Any]) -> ScriptedBackend:
    return ScriptedBackend(texts, context_window=None)


async def replay(case: Case, texts: list[Any], **more: Any) -> Outcome:
    backend = backend_of(texts)
    outcome = await BFCL(AgentSubject(backend, planning="off"), **more).run(case)
    backend.assert_exhausted()
    return outcome


def sample(category: str, number: int) -> list[Case]:
    return select(Selection((category,), number, seed=3))


@pytest.mark.parametrize("category", MULTI_TURN)
def test_the_ground_truth_passes_the_checker(category: str) -> None:
    for case in of_category(category).values():
        truth = [[turn] if turn else [] for turn in case.data["answer"]]
        assert judge_conversation(case, truth).passed, case.id


@pytest.mark.parametrize("category", MULTI_TURN)
async def test_the_ground_truth_passes_through_our_loop(category: str) -> None:
    for case in sample(category, 8):
        outcome = await replay(case, list(replies(case)))
        assert (outcome.passed, outcome.verdict) == (True, "ok"), case.id
        assert outcome.status == "completed"
        assert len(outcome.details["turns"]) == len(case.data["answer"])
        assert len(outcome.calls) == sum(map(len, case.data["answer"]))


@pytest.mark.parametrize(
    ("case_id", "words"),
    [
        *((f"{category}_173", "do not fit tool 'close_ticket'") for category in MULTI_TURN),
        ("multi_turn_miss_func_49", 'Unknown tool "tail"'),
    ],
)
async def test_ground_truth_that_our_loop_does_not_execute(case_id: str, words: str) -> None:
    """The only ones of all: a text for an integer, and a function that is not there yet."""
    case = of_category(case_id.rpartition("_")[0])[case_id]
    backend = backend_of(list(replies(case)))
    outcome = await BFCL(AgentSubject(backend, planning="off")).run(case)
    assert not outcome.passed
    told = [m.content for m in backend.requests[-1].messages if isinstance(m, ToolMessage)]
    assert any(words in text for text in told), told


@pytest.mark.parametrize("category", MULTI_TURN)
async def test_one_call_a_message_passes_too(category: str) -> None:
    for case in sample(category, 2):
        texts: list[str] = []
        for turn in case.data["answer"]:
            texts += [written(call) for call in parsed(case, turn)] + ["Done."]
        assert (await replay(case, list(texts))).passed, case.id


@pytest.mark.parametrize("category", MULTI_TURN)
async def test_a_turn_without_its_calls_fails(category: str) -> None:
    for case in sample(category, 4):
        first = next(index for index, turn in enumerate(case.data["answer"]) if turn)
        texts = list(replies(case))
        del texts[first]  # before it there are only turns without calls, of one text each
        outcome = await replay(case, list(texts))
        assert not outcome.passed, case.id
        assert "empty_turn_model_response" in outcome.verdict


async def test_a_wrong_value_fails() -> None:
    case = of_category(BASE)[f"{BASE}_0"]
    texts = [text.replace("final_report.pdf", "previous_report.pdf") for text in replies(case)]
    outcome = await replay(case, list(texts))
    assert not outcome.passed
    assert "instance_state_mismatch" in outcome.verdict
    assert "\n" not in outcome.verdict


async def test_a_case_can_be_run_again_and_leaves_nothing() -> None:
    case = of_category(BASE)[f"{BASE}_0"]
    kept: dict[str, Any] = module("eval_checker.multi_turn_eval.multi_turn_utils").__dict__
    before = set(kept)
    for _ in range(2):
        assert (await replay(case, list(replies(case)))).passed
    assert set(kept) == before


async def test_a_conversation_that_goes_on_for_too_long_is_given_up() -> None:
    case = of_category(BASE)[f"{BASE}_0"]
    texts = [
        written({"name": "echo", "arguments": {"content": f"{number}"}})
        for number in range(step_limit())
    ]
    outcome = await replay(case, list(texts))
    assert step_limit() == 21
    assert not outcome.passed
    assert outcome.status == "max_steps"
    assert "force_terminated" in outcome.verdict
    assert outcome.usage.requests == 21


async def test_fewer_messages_can_be_allowed() -> None:
    case = of_category(BASE)[f"{BASE}_0"]
    outcome = await replay(case, [replies(case)[0]], max_steps=1)
    assert outcome.status == "max_steps"
    assert not outcome.passed


async def test_held_out_functions_come_with_the_words_of_the_package() -> None:
    case = of_category("multi_turn_miss_func")["multi_turn_miss_func_0"]
    ((turn, tools),) = case.data["later"].items()
    added = {tool["function"]["name"] for tool in tools}
    backend = backend_of(list(replies(case)))
    assert (await BFCL(AgentSubject(backend, planning="off")).run(case)).passed
    words = "I have updated some more functions you can choose from. What about now?"
    for request in backend.requests:
        told = any(
            isinstance(message, UserMessage) and message.content == words
            for message in request.messages
        )
        offered = {tool["function"]["name"] for tool in request.tools}
        assert (added <= offered) == told
        assert told or added.isdisjoint(offered)
    assert turn > 0


async def test_the_model_reads_what_the_methods_return() -> None:
    case = of_category(BASE)[f"{BASE}_0"]
    backend = backend_of(list(replies(case)))
    await BFCL(AgentSubject(backend, planning="off")).run(case)
    read = [m.content for m in backend.requests[-1].messages if isinstance(m, ToolMessage)]
    assert '{"current_working_directory":"document"}' in read


async def test_results_can_be_shown_in_another_format() -> None:
    case = of_category(BASE)[f"{BASE}_0"]
    backend = backend_of(list(replies(case)))
    subject = AgentSubject(backend, planning="off", observation="lines")
    assert (await BFCL(subject).run(case)).passed
    read = [m.content for m in backend.requests[-1].messages if isinstance(m, ToolMessage)]
    assert "current_working_directory: document" in read


async def test_an_error_of_a_method_is_told_and_the_conversation_goes_on() -> None:
    case = of_category(BASE)[f"{BASE}_0"]
    wrong = written({"name": "cd", "arguments": {"folder": "nowhere"}})
    backend = backend_of([wrong, *replies(case)])
    outcome = await BFCL(AgentSubject(backend, planning="off")).run(case)
    assert outcome.passed  # it changes no state, and more calls than needed are allowed
    read = [m.content for m in backend.requests[1].messages if isinstance(m, ToolMessage)]
    assert "No such file or directory" in read[0]


@pytest.mark.parametrize(
    ("error", "raised"),
    [(BackendUnavailable("gone"), True), (ContextOverflow("too long"), False)],
)
async def test_errors_of_the_model(error: Exception, raised: bool) -> None:
    case = of_category(BASE)[f"{BASE}_0"]
    texts: list[Scripted] = [replies(case)[0], *[error] * 8]
    subject = AgentSubject(ScriptedBackend(texts, context_window=None), planning="off")
    if raised:
        with pytest.raises(BackendUnavailable):
            await BFCL(subject).run(case)
        return
    outcome = await BFCL(subject).run(case)
    assert not outcome.passed
    assert "too long" in outcome.error
    assert len(outcome.calls) == 3
