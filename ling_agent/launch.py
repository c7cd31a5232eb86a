"""How a run begins and ends: its setup, its name for itself, its log, its tools.

Everything that a run holds (the claim on its name, connections of its tool sources) is held by the
task that runs it, from `started` or `resumed` to the end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from .answers import AnswerSpec
from .approvals import Approval, Approver, decide
from .backends import Backend
from .cancellation import CancelToken
from .documents import Document, DocumentLike, add_documents, read_documents
from .errors import ConfigurationError, StoreError, Vetoed
from .events import Emit, Event
from .hooks import BeforeRun, Hooks, Veto
from .interrupted import adopt_early_calls, leave_calls
from .limits import Limits, Sampling
from .loop import Run
from .memory import Memory, Trajectory
from .memory.journal import Journal, claimed, off_loop
from .messages import SystemMessage, UserMessage
from .planning import Planning, hint
from .results import RunResult, RunStatus
from .resuming import check_resumable, is_complete
from .secrets import Redactor, find_secrets
from .setup import RunSetup
from .subagents import Host
from .tools import Toolset
from .tools.cutting import estimate_tokens
from .tools.source import ToolSource
from .tracing import RunStart, Tracer

_log = logging.getLogger("ling_agent.agent")


@dataclass(frozen=True, slots=True)
class Configuration:
    """An agent's arguments, checked and made into what a run needs; see `Agent`."""

    name: str
    backend: Backend
    tools: Toolset
    sources: tuple[ToolSource, ...]
    instructions: str
    answer: AnswerSpec[Any]
    planning: Planning
    memory: Memory
    limits: Limits
    sampling: Sampling
    hooks: Hooks
    approve: Approver | None
    tracing: Tracer
    secrets: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller of one run asks for; see `Agent.run` and `Agent.resume`."""

    session: str | None = None
    documents: Sequence[DocumentLike] = ()
    deps: Any = None
    limits: Limits | None = None
    cancel: CancelToken = field(default_factory=CancelToken)
    host: Host | None = None
    watched: bool = True


async def nobody(*events: Event) -> None:
    """Nobody listens to the events of an unstreamed run."""


@asynccontextmanager
async def started(
    agent: Configuration, task: str, options: Options, emit: Emit
) -> AsyncGenerator[Run, None]:
    """A new run, which has its name for itself until the context is left."""
    if not isinstance(task, str) or not task.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError("the task is empty: say what the agent should do")
    if options.session == "":
        raise ConfigurationError("session is empty: give it a name, or None")
    read = await read_documents(options.documents)
    run_id = options.session or uuid.uuid4().hex[:12]
    task = await _allowed(agent, task, run_id, options)
    store = agent.memory.store
    journal: Journal | None = None
    async with _setup(agent, options) as setup:
        try:
            async with claimed(store, run_id):
                journal = await agent.memory.open(run_id, known=False)
                _write_task(agent, setup, journal.trajectory, task, read)
                yield Run(setup, journal, emit)
        finally:
            if journal is not None and journal.forgotten:
                with anyio.CancelScope(shield=True), contextlib.suppress(StoreError):
                    await off_loop(store, lambda: store.delete(run_id))


@asynccontextmanager
async def resumed(
    agent: Configuration,
    run_id: str,
    approvals: Mapping[str, Approval],
    options: Options,
    emit: Emit,
    *,
    lenient: bool = False,
) -> AsyncGenerator[Run, None]:
    """A run that goes on, which has its name for itself until the context is left."""
    async with _setup(agent, options) as setup, claimed(agent.memory.store, run_id):
        journal = await agent.memory.open(run_id, known=True)
        if journal.behind and is_complete(journal.trajectory):
            await journal.flush(str(RunStatus.completed))  # the answer could not be kept
        check_resumable(journal.trajectory, run_id)
        adopt_early_calls(journal.trajectory)
        decisions = decide(journal.trajectory, setup.tools, approvals, lenient=lenient)
        yield Run(setup, journal, emit, decisions)


async def _allowed(agent: Configuration, task: str, run_id: str, options: Options) -> str:
    """The task as hooks let it through."""
    if BeforeRun not in agent.hooks:
        return task
    moment = BeforeRun(run_id=run_id, step=0, deps=options.deps, task=task)
    after = await agent.hooks.call(moment)
    if isinstance(after, Veto):
        raise Vetoed(f"a hook refused the task: {after.reason}")
    return after.task


@asynccontextmanager
async def _setup(agent: Configuration, options: Options) -> AsyncGenerator[RunSetup, None]:
    """What the run needs, with the connections of its tool sources."""
    redactor = Redactor([*agent.secrets, *find_secrets(options.deps)])
    async with AsyncExitStack() as stack:
        tools = agent.tools
        if agent.sources:
            more = [await stack.enter_async_context(s.opened()) for s in agent.sources]
            tools = Toolset([*tools, *(tool for listed in more for tool in listed)])
        yield RunSetup(
            name=agent.name,
            backend=agent.backend,
            tools=tools,
            planning=agent.planning if tools else "off",
            limits=options.limits or agent.limits,
            sampling=agent.sampling,
            memory=agent.memory,
            answer=agent.answer,
            hooks=agent.hooks,
            approve=agent.approve,
            tracing=agent.tracing,
            redact=redactor.text if redactor else _unchanged,
            redact_value=redactor.value if redactor else _unchanged,
            cancel=options.cancel,
            deps=options.deps,
            host=options.host,
            watched=options.watched,
        )


def _unchanged(value: Any) -> Any:
    return value


def _write_task(
    agent: Configuration,
    setup: RunSetup,
    trajectory: Trajectory,
    task: str,
    documents: Sequence[Document],
) -> None:
    """Begin a conversation with the task, or go on with one."""
    if len(trajectory):
        adopt_early_calls(trajectory)
        leave_calls(trajectory)
    elif agent.instructions:
        message = SystemMessage(agent.instructions)
        tokens = estimate_tokens(agent.instructions)
        trajectory.append("instructions", message, tokens=tokens)
    add_documents(trajectory, documents)
    told = hint(setup.planning, prefilled=agent.backend.renders_prompts) + agent.answer.hint
    tokens = estimate_tokens(task + told)
    trajectory.append("task", UserMessage(task + told), tokens=tokens, task=task)


async def execute(run: Run) -> RunResult[Any]:
    """Run, and keep how it ended; also that of a run whose task is cancelled.

    A run that raises after the model has answered is kept as well: what its calls have done must
    not be forgotten, or they would be made again.
    """
    journal = run.journal
    try:
        with run.setup.tracing.run(_start(run)) as trace:
            result = await run.execute(trace)
            trace.finished(result)
    except BaseException as error:
        begun = any(entry.kind == "assistant" for entry in run.trajectory.newest_task())
        with contextlib.suppress(StoreError):  # the error that is raised says more
            if begun or isinstance(error, anyio.get_cancelled_exc_class()):
                await journal.flush()
            else:
                await journal.withdraw()
        raise
    try:
        await journal.flush(str(result.status))
    except StoreError as error:
        note = f"how the run ended could not be kept: {error}"
        _log.warning("run %s: %s", run.run_id, note)
        return dataclasses.replace(result, notes=(*result.notes, note))
    return result


def _start(run: Run) -> RunStart:
    setup = run.setup
    return RunStart(
        agent=setup.name,
        run_id=run.run_id,
        backend=setup.backend.name,
        task=None if run.goes_on else run.task,
        json_answer=not setup.answer.is_text,
        redact=setup.redact,
    )
