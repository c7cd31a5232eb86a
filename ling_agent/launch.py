"""How a run begins and ends: its setup, its name for itself, its log, its tools.

Everything that a run holds (the claim on its name, connections of its tool sources) is held by the
task that runs it, from `started` or `resumed` to the end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio

from .approvals import Approval, decide
from .cancellation import cancelled_by
from .configuration import Configuration, Options
from .documents import Document, add_documents, read_documents
from .errors import BackendError, ConfigurationError, StoreError, Vetoed
from .events import Emit, Event
from .hooks import BeforeRun, Veto
from .interrupted import adopt_early_calls, leave_calls
from .loop import Run
from .memory import Trajectory
from .memory.journal import Journal, claimed, off_loop
from .messages import SystemMessage, UserMessage
from .planning import hint
from .results import RunResult, RunStatus
from .resuming import check_resumable, is_complete
from .secrets import Redactor, find_secrets
from .setup import RunSetup
from .tools import Toolset
from .tools.cutting import estimate_tokens
from .tools.source import ToolSource
from .tracing import RunStart, logged, logged_broken

_log = logging.getLogger("ling_agent.agent")


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
                await _prepared(setup)
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
        decisions = decide(
            journal.trajectory, setup.tools, approvals, setup.redact_value, lenient=lenient
        )
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
    above = options.host.secrets if options.host is not None else ()
    secrets = (*above, *agent.secrets, *find_secrets(options.deps))
    redactor = Redactor(secrets)
    async with _opened(agent.sources) as listed:
        tools, notes = agent.tools, ()
        if agent.sources:
            tools = Toolset([*tools, *listed])
            notes = agent.backend.tool_notes(listed.schemas)  # of the others it was asked before
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
            redact_error=redactor.error,
            secrets=secrets,
            cancel=options.cancel,
            deps=options.deps,
            host=options.host,
            watched=options.watched,
            notes=notes,
        )


@asynccontextmanager
async def _opened(sources: Sequence[ToolSource]) -> AsyncGenerator[Toolset, None]:
    """The tools of the sources, for as long as the context is open.

    Sources may have task groups, which put what passes them into groups of exceptions: the run's
    own error is raised as it is.
    """
    failure: BaseException | None = None
    try:
        async with AsyncExitStack() as stack:
            try:
                listed = [await stack.enter_async_context(s.opened()) for s in sources]
                yield Toolset(tool for given in listed for tool in given)
            except BaseException as error:
                failure = error
                raise
    except BaseExceptionGroup:
        # A cancelled body with a group is one that a source's own failure has cancelled.
        if failure is None or isinstance(failure, anyio.get_cancelled_exc_class()):
            raise
    if failure is not None:
        raise failure


async def _prepared(setup: RunSetup) -> None:
    """Let the backend find out how it will be asked, where the words of the task depend on it; what
    fails here fails in the run, and more clearly, for the run asks the same.
    """
    if setup.planning != "inline":
        return
    limit = setup.limits.timeout
    deadline = math.inf if limit is None else anyio.current_time() + limit
    with (
        anyio.CancelScope(deadline=deadline),
        cancelled_by(setup.cancel),
        contextlib.suppress(BackendError),
    ):
        await setup.backend.prepare()


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
        message = SystemMessage(setup.redact(agent.instructions))
        tokens = estimate_tokens(message.content)
        trajectory.append("instructions", message, tokens=tokens)
    add_documents(trajectory, [setup.redact_value(document) for document in documents])
    task = setup.redact(task)
    told = hint(setup.planning, prefilled=agent.backend.renders_prompts)
    if agent.answer.hint:
        told += f"\n\n{agent.answer.hint}"
    tokens = estimate_tokens(task + told)
    trajectory.append("task", UserMessage(task + told), tokens=tokens, task=task)


async def execute(run: Run) -> RunResult[Any]:
    """Run, and keep how it ended; also that of a run whose task is cancelled.

    A run that raises after the model has answered is kept as well: what its calls have done must
    not be forgotten, or they would be made again.
    """
    journal = run.journal
    try:
        with run.setup.tracing.run(_start(run)) as traced:
            trace = logged(traced, run.setup.name, run.run_id)
            result = await run.execute(trace)
            trace.finished(result)
    except BaseException as error:
        begun = any(entry.kind == "assistant" for entry in run.trajectory.newest_task())
        cancelled = isinstance(error, anyio.get_cancelled_exc_class())
        status = RunStatus.cancelled if cancelled else RunStatus.failed
        logged_broken(run.setup.name, run.run_id, status, error)
        if (begun or cancelled) and not run.ended:
            run.break_off(status)
        with contextlib.suppress(StoreError):  # the error that is raised says more
            if begun or cancelled:
                await journal.flush()
            else:
                await journal.withdraw()
        raise
    try:
        await journal.flush(str(result.status))
    except StoreError as error:
        note = f"how the run ended could not be kept: {error}"
        note = run.setup.redact(note)
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
