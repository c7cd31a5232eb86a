"""An agent as a tool of another: its run is found again, and gone on with, by the call's name."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from .accepting import Refused, let_through
from .approvals import Approval, ApprovalRequest, Approver
from .configuration import Configuration, Options
from .errors import LingAgentError, ToolError
from .events import Emit, Event, SubagentEvent
from .hooks import BeforeAnswer
from .launch import execute, nobody, resumed, started
from .loop import Run
from .memory import Trajectory
from .memory.journal import off_loop
from .messages import AssistantMessage, ToolCall
from .planning import PlanSplitter
from .results import RunResult, RunStatus
from .resuming import is_complete
from .secrets import Redactor, find_secrets
from .subagents import Host
from .tools import CallsWait, ProgramError, RunContext, Tool


def tool_of(agent: Configuration, *, name: str, description: str) -> Tool[..., Any]:
    """The tool.

    Args:
        agent: Whose run the tool is.
        name: Of the tool.
        description: Of the tool.
    """

    async def work(ctx: RunContext[Any], task: str) -> Any:
        try:
            return await _work(agent, ctx, task)
        except (LingAgentError, CallsWait):
            raise
        except Exception as error:
            raise ProgramError(error) from error

    # Whatever ended it, the same call goes on with its run: nothing is done twice.
    return Tool.from_function(work, name=name, description=description, idempotent=True)


async def _work(agent: Configuration, ctx: RunContext[Any], task: str) -> Any:
    if not isinstance(ctx.host, Host):  # called outside of a run
        async with started(agent, task, Options(deps=ctx.deps), nobody) as run:
            return _output(agent, await execute(run), ctx.call_id)
    host = ctx.host
    inner = dataclasses.replace(
        agent,
        memory=agent.memory if agent.own_memory else host.memory,
        approve=agent.approve or _inherited(host.approve, ctx.call_id),
    )
    run_id = host.child_id(ctx.call_id)
    kept = await _kept(inner, run_id)
    if kept is not None and is_complete(kept):
        # Only what came of it could not be written down.
        return await _answer(inner, kept, run_id, host, ctx.deps)
    async with _opened(inner, host, ctx, task, goes_on=kept is not None) as run:
        return _output(inner, await execute(run), ctx.call_id)


@asynccontextmanager
async def _opened(
    agent: Configuration, host: Host, ctx: RunContext[Any], task: str, *, goes_on: bool
) -> AsyncGenerator[Run, None]:
    run_id = host.child_id(ctx.call_id)
    emit = _telling(host, ctx.call_id, agent.name, run_id) if host.watched else nobody
    options = Options(
        session=run_id, deps=ctx.deps, cancel=host.cancel, host=host, watched=host.watched
    )
    decisions = host.decisions_for(ctx.call_id)
    opened: AbstractAsyncContextManager[Run] = (
        resumed(agent, run_id, decisions, options, emit, lenient=True)
        if goes_on
        else started(agent, task, options, emit)
    )
    async with opened as run:
        yield run


def _telling(host: Host, call_id: str, name: str, run_id: str) -> Emit:
    async def tell(*events: Event) -> None:
        await host.tell(*(SubagentEvent(call_id, name, run_id, event) for event in events))

    return tell


def _inherited(approve: Approver | None, call_id: str) -> Approver | None:
    """The function of the run that calls, asked with the name that the call has there."""
    if approve is None:
        return None

    async def ask(request: ApprovalRequest) -> Approval | None:
        named = dataclasses.replace(request.call, id=f"{call_id}/{request.call.id}")
        answer = approve(dataclasses.replace(request, call=named))
        return await answer if inspect.isawaitable(answer) else answer

    return ask


async def _kept(agent: Configuration, run_id: str) -> Trajectory | None:
    store = agent.memory.store
    return await off_loop(store, lambda: store.load(run_id) if run_id in store else None)


async def _answer(
    agent: Configuration, kept: Trajectory, run_id: str, host: Host, deps: Any
) -> Any:
    """The output of a run that is complete, as its hooks let it through.

    Raises:
        ToolError: They do not.
    """
    message = kept.last_message
    splitter = PlanSplitter()
    text = message.content if isinstance(message, AssistantMessage) else ""
    output = agent.answer.read((splitter.feed(text) + splitter.finish()).strip())
    moment = BeforeAnswer(run_id=run_id, step=kept.last_step, deps=deps, output=output)
    redactor = Redactor((*host.secrets, *agent.secrets, *find_secrets(deps)))
    accepted = await let_through(moment, agent.hooks, agent.answer, redactor.text)
    if isinstance(accepted, Refused):
        raise ToolError(accepted.message)
    return accepted.output


def _output(agent: Configuration, result: RunResult[Any], call_id: str) -> Any:
    """What the tool returns.

    Raises:
        CallsWait: It ended because calls have to be approved, or was stopped before it had said
            anything.
        ToolError: It ended without an answer.
    """
    if result.status is RunStatus.needs_approval:
        raise CallsWait(
            tuple(
                ToolCall(f"{call_id}/{call.id}", call.name, call.arguments)
                for call in result.pending_approvals
            )
        )
    if result.status is RunStatus.completed:
        return result.output
    if result.status is not RunStatus.stopped:
        why = result.error or result.output
        raise ToolError(f"{agent.name} ended as {result.status}" + (f": {why}" if why else ""))
    if result.output is None:
        raise CallsWait(())
    return result.output
