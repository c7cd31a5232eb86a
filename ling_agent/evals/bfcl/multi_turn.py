"""The multi-turn categories: conversations with simulated classes, run by our loop.

Each turn of the user is one run of the agent in one session; its tools call the simulated methods.
In ``miss_func`` a turn brings the functions that were held out, with the package's own words. As in
the package a turn ends when the model answers without a call; after 21 messages with calls in one
turn the conversation is given up. Judged is what was executed, by its ``multi_turn_checker``: a
call that our loop refused (its arguments do not fit; it repeats the last one) has changed nothing.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...agent import Agent
from ...errors import BackendError, BackendUnavailable
from ...limits import Limits
from ...memory import InMemoryStore, Memory
from ...results import RunResult, RunStatus, Usage
from ..benchmark import Case, Outcome
from ..recording import RecordingBackend
from ..subject import AgentSubject
from .judge import Verdict, one_line, verdict_of
from .package import module
from .simulation import Simulation, instances, simulation

_SESSION = "case"


@dataclass(slots=True)
class _Conversation:
    """What happened: one item a turn."""

    turns: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    calls: list[list[list[str]]] = field(default_factory=list[list[list[str]]])
    usage: Usage = field(default_factory=Usage)
    repairs: list[str] = field(default_factory=list[str])
    made: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])
    status: str = str(RunStatus.completed)
    error: str = ""

    def take(self, task: str, result: RunResult[str], calls: list[list[str]]) -> None:
        messages = [step.message for step in result.steps]
        turn: dict[str, Any] = {"task": task, "status": str(result.status), "calls": calls}
        turn["texts"] = [message.raw or message.content for message in messages]
        if result.notes:
            turn["notes"] = list(result.notes)
        if result.error is not None:
            turn["error"] = one_line(str(result.error))
        self.turns.append(turn)
        self.calls.append(calls)
        self.usage += result.usage
        for call in (call for message in messages for call in message.calls):
            self.repairs += call.repairs
            self.made.append({"name": call.name, "arguments": call.arguments})
        self.status = str(result.status)


async def run_case(subject: AgentSubject, case: Case, *, max_steps: int | None = None) -> Outcome:
    """Hold the conversation of a case, and judge it.

    Args:
        subject: Whose agent works.
        case: Of a multi-turn category.
        max_steps: Messages of the model in one turn; the package's limit by default.

    Raises:
        BackendUnavailable: The model is gone.
    """
    recording = RecordingBackend(subject.backend)
    started = time.perf_counter()
    with simulation(case, subject.observe) as simulated:
        held = await _hold(subject, case, simulated, recording, max_steps or step_limit())
    seconds = time.perf_counter() - started
    verdict = Verdict(False, held.error) if held.error else judge_conversation(case, held.calls)
    last = recording.exchanges[-1] if recording.exchanges else None
    return Outcome(
        case=case.id,
        category=case.category,
        passed=verdict.passed,
        score=float(verdict.passed),
        verdict=verdict.text,
        prompt=last.prompt if last else "",
        text=last.text if last else "",
        calls=tuple(held.made),
        repairs=tuple(held.repairs),
        usage=held.usage,
        seconds=seconds,
        status=held.status,
        error=held.error,
        details={"turns": held.turns},
    )


def step_limit() -> int:
    """Messages of the model in one turn: the package breaks off behind the one that exceeds its
    limit.
    """
    return module("constants.default_prompts").MAXIMUM_STEP_LIMIT + 1


def judge_conversation(case: Case, calls: Sequence[Sequence[Sequence[str]]]) -> Verdict:
    """The package's verdict.

    Args:
        case: Of a multi-turn category.
        calls: As Python text: of each turn, of each message of the model that made any.
    """
    truth = case.data["answer"]
    if len(calls) != len(truth):
        return Verdict(
            False,
            f"multi_turn:force_terminated: it went on for too long in turn {len(calls) - 1}",
        )
    entry = {key: value for key, value in case.data["entry"].items() if key != "function"}
    checker = module("eval_checker.multi_turn_eval.multi_turn_checker")
    with instances() as model:
        try:
            result = checker.multi_turn_checker(
                [[list(step) for step in turn] for turn in calls],
                copy.deepcopy(truth),
                copy.deepcopy(entry),
                case.category,
                model,
            )
        except Exception as error:  # the package would stop its evaluation there
            return Verdict(False, f"the checker failed on these calls: {one_line(repr(error))}")
    return verdict_of(result)


async def _hold(
    subject: AgentSubject,
    case: Case,
    simulated: Simulation,
    recording: RecordingBackend,
    max_steps: int,
) -> _Conversation:
    held = _Conversation()
    agent: Agent[str] = subject.agent(
        simulated.tools(case.data["tools"]),
        recording=recording,
        memory=Memory(InMemoryStore()),
        limits=Limits(max_steps=max_steps),
    )
    for index, messages in enumerate(case.data["messages"]):
        simulated.turn = index
        task = "\n\n".join(str(message["content"]) for message in messages)
        if later := case.data.get("later", {}).get(index):
            agent = agent.with_options(tools=[*agent.tools, *simulated.tools(later)])
            texts = module("constants.default_prompts")
            task = texts.DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_FC
        result = await agent.run(task, session=_SESSION)
        if isinstance(result.error, BackendUnavailable):
            raise result.error
        held.take(task, result, simulated.calls(index))
        if isinstance(result.error, BackendError):
            held.error = one_line(f"{type(result.error).__name__}: {result.error}")
            break
        if result.status is RunStatus.max_steps:
            break
    return held
