"""`Agent`: an immutable configuration and the ways to run it."""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from .approvals import Approval, decide
from .backends import Backend, open_backend
from .blocking import run_blocking
from .cancellation import CancelToken
from .errors import ConfigurationError, ToolError
from .events import Emit, Event, RunStarted
from .limits import Limits, Sampling
from .loop import Run
from .memory import Memory, Trajectory
from .memory.trajectory import unanswered
from .messages import SystemMessage, UserMessage
from .observe import leave_calls
from .planning import HINTS, Planning, hint
from .profiles import Profile
from .results import RunResult
from .setup import RunSetup
from .stream import RunStream, running
from .tools import RunContext, Tool, Toolset

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
        deps: Any = None,
        limits: Limits | None = None,
        cancel: CancelToken | None = None,
    ) -> RunResult:
        """Work on the task until there is an answer or a limit.

        Args:
            task: What to do.
            session: Name of a conversation that this task continues, kept in the agent's memory;
                one run at a time.
            deps: Your own object, handed to tools as ``ctx.deps``.
            limits: In place of the agent's.
            cancel: Ends the run from outside, with its result.

        Raises:
            ConfigurationError: The task is empty, the backend is configured wrongly, or a run of
                the session has not ended.
            BackendError: The model could not be asked even once. Later errors end the run as a
                result with status ``failed``: it holds what was done until then.
        """
        setup = self._setup(deps, limits, cancel, watched=False)
        with self._started(task, session, setup, _ignore) as run:
            return await self._execute(run)

    @asynccontextmanager
    async def stream(
        self,
        task: str,
        *,
        session: str | None = None,
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

        with self._started(task, session, self._setup(deps, limits, token), emit) as run:
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
        deps: Any = None,
        limits: Limits | None = None,
        cancel: CancelToken | None = None,
    ) -> RunResult:
        """`run` for synchronous code; it also works (and blocks) where an event loop runs."""
        token = cancel or CancelToken()
        return run_blocking(
            lambda: self.run(task, session=session, deps=deps, limits=limits, cancel=token),
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
        with self.memory.claim(run_id):
            trajectory = self.memory.store.load(run_id).fork()
            _check_resumable(trajectory, run_id)
            decisions = decide(trajectory, self._toolset, approvals or {})
            setup = self._setup(deps, limits, cancel, watched=False)
            run = Run(setup, trajectory, run_id, _ignore, decisions)
            return await self._execute(run)

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
            deps=deps,
            watched=watched,
            cancel=cancel,
        )

    @contextmanager
    def _started(
        self,
        task: str,
        session: str | None,
        setup: RunSetup,
        emit: Emit,
    ) -> Generator[Run, None, None]:
        """A new run, which has its name for itself until the context is left."""
        if not isinstance(task, str) or not task.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError("the task is empty: say what the agent should do")
        run_id = session or uuid.uuid4().hex[:12]
        with self.memory.claim(run_id):
            trajectory = self._conversation(session)
            trajectory.append(
                "task",
                UserMessage(task + hint(setup.planning, prefilled=self._backend.renders_prompts)),
                task=task,
            )
            yield Run(setup, trajectory, run_id, emit)

    def _conversation(self, session: str | None) -> Trajectory:
        if session is not None and session in self.memory.store:
            # A fork: results that were given out stay as they are, and a run that cannot even
            # begin leaves the conversation as it was.
            return leave_calls(self.memory.store.load(session).fork())
        trajectory = Trajectory()
        if self.instructions:
            trajectory.append("instructions", SystemMessage(self.instructions))
        return trajectory

    async def _execute(self, run: Run) -> RunResult:
        """Run, and keep the trajectory; also that of a run whose task is cancelled.

        A run that raises after the model has answered is kept as well: what its calls have done
        must not be forgotten, or they would be made again.
        """
        try:
            result = await run.execute()
        except BaseException as error:
            begun = any(entry.kind == "assistant" for entry in run.trajectory.newest_task())
            if begun or isinstance(error, anyio.get_cancelled_exc_class()):
                self.memory.store.save(run.run_id, run.trajectory)
            raise
        self.memory.store.save(run.run_id, run.trajectory)
        return result


def _check_resumable(trajectory: Trajectory, run_id: str) -> None:
    last = next((e for e in reversed(list(trajectory)) if e.message or e.kind == "limit"), None)
    if last is None or last.kind != "assistant" or unanswered(trajectory):
        return
    raise ConfigurationError(
        f"run {run_id!r} has completed: give a new task to run(task, session={run_id!r})"
    )


async def _ignore(*events: Event) -> None:
    """Nobody listens to the events of an unstreamed run."""
