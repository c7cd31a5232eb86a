"""What a run that is resumed finds of the earlier one: its plan, its last mistake, its end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from . import planning
from .errors import ConfigurationError
from .memory.trajectory import Trajectory, conversation, in_conversation, unanswered
from .messages import AssistantMessage, ToolMessage
from .results import Plan, PlanStep, Step, Usage

EMPTY = "Your answer was empty. Call a tool, or answer the user."
_CUT = "Your answer was cut off. Write it again, shorter, to the end."


def check_resumable(trajectory: Trajectory, run_id: str) -> None:
    """Refuse to go on with a run that has its answer.

    Raises:
        ConfigurationError: It has.
    """
    if is_complete(trajectory):
        raise ConfigurationError(
            f"run {run_id!r} has completed: give a new task to run(task, session={run_id!r})"
        )


def is_complete(trajectory: Trajectory) -> bool:
    """Whether the newest task has its answer."""
    entries = in_conversation(trajectory)
    last = next((entry for entry in entries if entry.message or entry.kind == "limit"), None)
    return last is not None and last.kind == "assistant" and not unanswered(trajectory)


def mistake(content: str) -> str:
    """What to tell the model about a message that ended a run without being its answer."""
    splitter = planning.PlanSplitter()
    rest = splitter.feed(content) + splitter.finish()
    if rest.strip():
        return _CUT
    return planning.CARRY_OUT if splitter.plan else EMPTY


def last_plan(trajectory: Trajectory) -> Plan | None:
    """The newest task's plan, with the steps done that its observations have done."""
    plan: Plan | None = None
    failed: dict[int, bool] = {}
    for entry in trajectory.newest_task():
        if entry.kind == "plan":
            steps = tuple(PlanStep(text) for text in entry.data["steps"])
            plan = Plan(entry.data["text"], steps, entry.data["revision"])
            failed.clear()
        elif isinstance(entry.message, ToolMessage):
            failed[entry.step] = failed.get(entry.step, False) or entry.message.is_error
    if unanswered(trajectory):
        failed.pop(trajectory.last_step, None)
    for any_failed in failed.values():
        if plan is not None and not any_failed:
            plan = planning.advance(plan)
    return plan


def steps_taken(trajectory: Trajectory, by_step: Mapping[int, Usage]) -> tuple[Step, ...]:
    """The steps of one run; a resumed one begins with the step whose calls it answered.

    Args:
        trajectory: The log.
        by_step: What the run's steps have cost, by their number.
    """
    steps: dict[int, Step] = {}
    seen: dict[int, list[ToolMessage]] = defaultdict(list)
    for entry, message in conversation(trajectory):
        number = entry.step
        if isinstance(message, AssistantMessage) and number in by_step:
            steps[number] = Step(number, message, (), by_step[number])
        elif isinstance(message, ToolMessage) and number in steps:
            seen[number].append(message)
    return tuple(
        Step(number, step.message, tuple(seen[number]), step.usage)
        for number, step in steps.items()
    )
