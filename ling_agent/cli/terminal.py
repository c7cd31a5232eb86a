"""One run in the terminal: shown, interrupted by Ctrl-C, asked about where it wants approval."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio

from ..agent import Agent
from ..approvals import Approval
from ..cancellation import CancelToken
from ..documents import Document
from ..events import ApprovalRequested, Event, RunFinished, SubagentEvent
from ..limits import Limits
from ..results import RunResult, Usage
from ..stream import RunStream
from ..view import RunView
from .approving import ApprovalPrompt, asking, by_name
from .common import result_to_json
from .interrupts import Interrupts, Press, interrupting

Begin = Callable[[Agent[Any], Limits, CancelToken], AbstractAsyncContextManager[RunStream[Any]]]
"""Begins a run, or goes on with one."""


def work(
    agent: Agent[Any],
    begin: Begin,
    *,
    limits: Limits | None = None,
    prompt: ApprovalPrompt | None = None,
    stoppable: bool = False,
) -> RunResult[Any]:
    """Run to the end, approvals included, and show it.

    Args:
        agent: Whose run it is.
        begin: Begins it.
        limits: Of the whole; the agent's by default.
        prompt: Asks about calls that need approval; without it they end the run.
        stoppable: Whether the first Ctrl-C only ends the answer; the next one cancels the run, and
            one more ends the program.

    Returns:
        The last result, with the cost of all. It is shown.

    Raises:
        KeyboardInterrupt: Ctrl-C has cancelled a run that was not stoppable, which was shown; or
            it was pressed once more.
    """
    agent = asking(agent, prompt)
    view, spent, left = RunView(), Usage(), limits or agent.limits
    try:
        while True:
            token = CancelToken()
            interrupts = _presses(token, stoppable)
            with interrupting(interrupts):
                opened = begin(agent, left, token)
                result = anyio.run(_events, opened, view, prompt is not None, interrupts)
            spent += result.usage
            further = remaining(left, result)
            if not result.pending_approvals or prompt is None or further is None:
                break
            view.close()
            decisions = prompt.ask(result.pending_approvals, by_name(agent.tools))
            if decisions is None:
                break
            begin, left = resuming(result.run_id, decisions), further
        result = dataclasses.replace(result, usage=spent)
        view.show(RunFinished(result))
    finally:
        view.close()
    if token.cancelled and not stoppable:
        raise KeyboardInterrupt
    return result


def print_json(run: Callable[[CancelToken], RunResult[Any]]) -> RunResult[Any]:
    """Run to the end and print the result for programs, that of a cancelled run as well.

    Raises:
        KeyboardInterrupt: Ctrl-C has cancelled the run, whose result was printed.
    """
    token = CancelToken()
    with interrupting(Interrupts(Press(token.cancel, ""))):
        result = run(token)
    from pydantic_core import to_jsonable_python  # for answers that have a type

    # ASCII: the same in every locale.
    print(json.dumps(result_to_json(result), default=to_jsonable_python))
    if token.cancelled:
        raise KeyboardInterrupt
    return result


def starting(task: str, session: str | None = None, documents: Sequence[Document] = ()) -> Begin:
    """Begin with a task."""
    return lambda agent, limits, token: agent.stream(
        task, limits=limits, session=session, documents=documents, cancel=token
    )


def resuming(run_id: str, decisions: Mapping[str, Approval] | None = None) -> Begin:
    """Go on with a run."""
    return lambda agent, limits, token: agent.resume_stream(
        run_id, approvals=decisions, limits=limits, cancel=token
    )


def remaining(limits: Limits, result: RunResult[Any]) -> Limits | None:
    """What a run has left of its limits: an approval is no reason to begin them anew.

    None when it may not ask the model once more.
    """
    usage = result.usage
    asked = sum(step.usage.requests > 0 for step in result.steps)
    if asked >= limits.max_steps:
        return None
    return dataclasses.replace(
        limits,
        max_steps=limits.max_steps - asked,
        max_tool_calls=_less(limits.max_tool_calls, usage.tool_calls),
        max_total_tokens=_less(limits.max_total_tokens, usage.total_tokens),
        timeout=None if limits.timeout is None else max(limits.timeout - usage.seconds, 0.0),
    )


def _less(limit: int | None, used: int) -> int | None:
    return None if limit is None else max(limit - used, 0)


async def _events(
    opened: AbstractAsyncContextManager[RunStream[Any]],
    view: RunView,
    asked: bool,
    interrupts: Interrupts,
) -> RunResult[Any]:
    """Show all events but the last, which is shown when nothing more is asked."""
    interrupts.tell_by(view.waiting)
    async with opened as run:
        async for event in run:
            if not isinstance(event, RunFinished) and not (asked and _is_question(event)):
                view.show(event)
    return run.result


def _is_question(event: Event) -> bool:
    """Whether it says only that somebody will be asked."""
    while isinstance(event, SubagentEvent):
        event = event.event
    return isinstance(event, ApprovalRequested)


def _presses(token: CancelToken, stoppable: bool) -> Interrupts:
    cancel = Press(token.cancel, "cancelling the run; Ctrl-C again ends the program")
    if not stoppable:
        return Interrupts(cancel)
    stop = Press(token.stop, "stopping when running calls have ended; Ctrl-C again cancels them")
    return Interrupts(stop, cancel)
