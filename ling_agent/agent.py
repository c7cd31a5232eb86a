"""`Agent`: an immutable configuration and the ways to run it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from .approvals import Approval, decide
from .backends import Backend, open_backend
from .blocking import run_blocking
from .cancellation import CancelToken
from .documents import Document, DocumentLike, add_documents, read_documents
from .errors import ConfigurationError, StoreError, ToolError
from .events import Emit, Event, RunStarted
from .limits import Limits, Sampling
from .loop import Run
from .memory import Memory, Trajectory
from .memory.journal import Journal, claimed, off_loop
from .messages import SystemMessage, UserMessage
from .observe import leave_calls
from .planning import HINTS, Planning, hint
from .profiles import Profile
from .results import RunResult, RunStatus
from .resuming import check_resumable, is_complete
from .setup import RunSetup
from .stream import RunStream, running
from .tools import RunContext, Tool, Toolset
from .tools.cutting import estimate_tokens

_log = logging.getLogger("ling_agent.agent")

ToolLike = Tool[..., Any] | Callable[..., Any]


@dataclass(frozen=True, init=False)
class Agent:
    """A model, its tools and how it works; safe to share between concurrent runs and event loops.

    Args:
        backend: A backend string such as ``llamacpp:qwen2.5-coder-0.5b``, a `Backend`, or None for
            the embedded default. Nothing is loaded before the first run.
        tools: Functions, `Tool` objects, or both; no two with one name.
        instructions: System prompt.
        output_type: Type of the answer; ``str`` in this version.
        planning: ``off``; ``inline``, the model begins with a plan in its own text; ``explicit``, a
            plan with steps is made first and revised when an observation contradicts it.
        memory: Where runs are kept for `resume`; in this process by default.
        limits: Bounds of every run.
        sampling: How tokens are chosen; greedy by default.
        profile: Facts about the model's family, by name or as an object, in place of those that the
            backend string stands for; a `Backend` object brings its own.
        name: For logs and as the name of the tool that `as_tool` makes.
        deps_type: Type of ``deps``, for documentation and type checkers.

    Raises:
        ConfigurationError: A tool cannot be used, or an argument is not one of its values.
    """

    backend: Backend | str | None
    tools: tuple[ToolLike, ...]
    instructions: str
    output_type: type[str]
    planning: Planning
    memory: Memory
    limits: Limits
    sampling: Sampling
    profile: Profile | str | None
    name: str
    deps_type: type[Any] | None
    _backend: Backend = field(repr=False, compare=False, init=False)
    _toolset: Toolset = field(repr=False, compare=False, init=False)

    def __init__(
        self,
        backend: Backend | str | None = None,
        *,
        tools: Sequence[ToolLike] = (),
        instructions: str = "",
        output_type: type[str] = str,
        planning: Planning = "inline",
        memory: Memory | None = None,
        limits: Limits | None = None,
        sampling: Sampling | None = None,
        profile: Profile | str | None = None,
        name: str = "agent",
        deps_type: type[Any] | None = None,
    ) -> None:
        if planning not in HINTS:
            raise ConfigurationError(f"planning={planning!r}: write 'off', 'inline' or 'explicit'")
        if output_type is not str:  # pyright: ignore[reportUnnecessaryComparison]
            raise ConfigurationError("output_type: only str is supported by this version")
        if not isinstance(memory, Memory | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"memory={memory!r}: give a Memory, such as Memory(store)")
        try:
            given = tuple(tools)  # once: it may be a generator
        except TypeError:
            raise ConfigurationError("tools: give a list of functions and Tool objects") from None
        vars(self).update(  # a frozen dataclass takes no assignments
            backend=backend,
            tools=given,
            instructions=instructions,
            output_type=output_type,
            planning=planning,
            memory=memory or Memory(),
            limits=limits or Limits(),
            sampling=sampling or Sampling(),
            profile=profile,
            name=name,
            deps_type=deps_type,
            _backend=open_backend(backend, profile=profile),
            _toolset=Toolset(given),
        )
        for note in self._backend.tool_notes(self._toolset.schemas):
            _log.warning(note)

    async def run(
        self,
        task: str,
        *,
        session: str | None = None,
        documents: Sequence[DocumentLike] = (),
        deps: Any = None,
        limits: Limits | None = None,
        cancel: CancelToken | None = None,
    ) -> RunResult:
        """Work on the task until there is an answer or a limit.

        Args:
            task: What to do.
            session: Name of a conversation that this task continues, kept in the agent's memory;
                one run at a time.
            documents: Paths to text files, texts, or `Document` objects that the task is about. As
                much as fits is shown to the model, which finds the rest with its recall tools.
            deps: Your own object, handed to tools as ``ctx.deps``.
            limits: In place of the agent's.
            cancel: Ends the run from outside, with its result.

        Raises:
            ConfigurationError: The task is empty, a document cannot be read, the backend is
                configured wrongly, or a run of the session has not ended, here or elsewhere.
            StoreError: The session cannot be read, or the run cannot be kept. A store that fails
                later ends the run with status ``failed``.
            BackendError: The model could not be asked even once. Later errors end the run as a
                result with status ``failed``: it holds what was done until then.
        """
        setup = self._setup(deps, limits, cancel, watched=False)
        async with self._started(task, session, documents, setup, _ignore) as run:
            return await self._execute(run)

    @asynccontextmanager
    async def stream(
        self,
        task: str,
        *,
        session: str | None = None,
        documents: Sequence[DocumentLike] = (),
        deps: Any = None,
        limits: Limits | None = None,
        cancel: CancelToken | None = None,
    ) -> AsyncGenerator[RunStream, None]:
        """Like `run`, with events while it works; leaving the context early cancels the run."""
        token = CancelToken()  # the stream's own: cancelling it leaves the caller's alone

        async def emit(*events: Event) -> None:
            await stream.emit(*events)

        async def work() -> RunResult:
            await stream.emit(RunStarted(run.run_id, task))
            return await self._execute(run)

        setup = self._setup(deps, limits, token)
        async with self._started(task, session, documents, setup, emit) as run:
            stream = RunStream(token)
            undo = cancel.on_cancel(token.cancel) if cancel is not None else None
            try:
                async with running(stream, work):
                    yield stream
            finally:
                if undo is not None:
                    undo()

    def run_sync(
        self,
        task: str,
        *,
        session: str | None = None,
        documents: Sequence[DocumentLike] = (),
        deps: Any = None,
        limits: Limits | None = None,
        cancel: CancelToken | None = None,
    ) -> RunResult:
        """`run` for synchronous code; it also works (and blocks) where an event loop runs."""
        token = cancel or CancelToken()
        return run_blocking(
            lambda: self.run(
                task,
                session=session,
                documents=documents,
                deps=deps,
                limits=limits,
                cancel=token,
            ),
            token.cancel,
        )

    async def resume(
        self,
        run_id: str,
        *,
        approvals: Mapping[str, Approval] | None = None,
        deps: Any = None,
        limits: Limits | None = None,
        cancel: CancelToken | None = None,
    ) -> RunResult:
        """Go on with a run that a limit, a cancellation, a failure or an approval ended.

        Args:
            run_id: Of the earlier result.
            approvals: Decisions by call id: True, False, `Deny` or `Edit`.
            deps: Your own object for the tools.
            limits: In place of the agent's; they count from here on.
            cancel: Ends the run from outside.

        Raises:
            StoreError: The run is not kept.
            ConfigurationError: The run has completed, has not ended yet, or an approval is for no
                call that waits.
        """
        async with claimed(self.memory.store, run_id):
            journal = await self.memory.open(run_id, known=True)
            if journal.behind and is_complete(journal.trajectory):
                await journal.flush(str(RunStatus.completed))  # the answer could not be kept
            check_resumable(journal.trajectory, run_id)
            decisions = decide(journal.trajectory, self._toolset, approvals or {})
            setup = self._setup(deps, limits, cancel, watched=False)
            return await self._execute(Run(setup, journal, _ignore, decisions))

    def as_tool(self, *, name: str | None = None, description: str | None = None) -> Tool[..., Any]:
        """This agent as a tool of another: it takes a task and returns the answer.

        It works with the other's ``deps`` and its own tools and limits.
        """

        async def work(ctx: RunContext[Any], task: str) -> str:
            result = await self.run(task, deps=ctx.deps)
            if result.output is None or not result.ok:
                why = result.error or result.output
                raise ToolError(
                    f"{self.name} ended as {result.status}" + (f": {why}" if why else "")
                )
            return result.output

        return Tool.from_function(
            work,
            name=name or self.name,
            description=description or f"Ask the agent {self.name} to do a task.",
        )

    def _setup(
        self,
        deps: Any,
        limits: Limits | None,
        cancel: CancelToken | None,
        *,
        watched: bool = True,
    ) -> RunSetup:
        return RunSetup(
            backend=self._backend,
            tools=self._toolset,
            planning=self.planning if self.tools else "off",
            limits=limits or self.limits,
            sampling=self.sampling,
            memory=self.memory,
            deps=deps,
            watched=watched,
            cancel=cancel,
        )

    @asynccontextmanager
    async def _started(
        self,
        task: str,
        session: str | None,
        documents: Sequence[DocumentLike],
        setup: RunSetup,
        emit: Emit,
    ) -> AsyncGenerator[Run, None]:
        """A new run, which has its name for itself until the context is left."""
        if not isinstance(task, str) or not task.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError("the task is empty: say what the agent should do")
        if session == "":
            raise ConfigurationError("session is empty: give it a name, or None")
        read = await read_documents(documents)
        run_id = session or uuid.uuid4().hex[:12]
        store = self.memory.store
        journal: Journal | None = None
        try:
            async with claimed(store, run_id):
                journal = await self.memory.open(run_id, known=False)
                self._write_task(journal.trajectory, task, read)
                yield Run(setup, journal, emit)
        finally:
            if journal is not None and journal.forgotten:
                with anyio.CancelScope(shield=True), contextlib.suppress(StoreError):
                    await off_loop(store, lambda: store.delete(run_id))

    def _write_task(self, trajectory: Trajectory, task: str, documents: Sequence[Document]) -> None:
        """Begin a conversation with the task, or go on with one."""
        if len(trajectory):
            leave_calls(trajectory)
        elif self.instructions:
            message = SystemMessage(self.instructions)
            tokens = estimate_tokens(self.instructions)
            trajectory.append("instructions", message, tokens=tokens)
        add_documents(trajectory, documents)
        planning = self.planning if self.tools else "off"
        told = hint(planning, prefilled=self._backend.renders_prompts)
        tokens = estimate_tokens(task + told)
        trajectory.append("task", UserMessage(task + told), tokens=tokens, task=task)

    async def _execute(self, run: Run) -> RunResult:
        """Run, and keep how it ended; also that of a run whose task is cancelled.

        A run that raises after the model has answered is kept as well: what its calls have done
        must not be forgotten, or they would be made again.
        """
        journal = run.journal
        try:
            result = await run.execute()
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


async def _ignore(*events: Event) -> None:
    """Nobody listens to the events of an unstreamed run."""
