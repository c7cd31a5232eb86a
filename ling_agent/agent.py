"""`Agent`: an immutable configuration and the ways to run it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from typing_extensions import Unpack

from .agent_tool import tool_of
from .approvals import Approval, Approver
from .backends import Backend
from .blocking import SyncRunStream, run_blocking, streaming_blocking
from .cancellation import CancelToken, following
from .configuration import Configuration, Options, ResumeOptions, RunOptions, ToolLike, configured
from .documents import DocumentLike
from .errors import ConfigurationError
from .events import Emit
from .hooks import Hook
from .launch import execute, nobody, resumed, started
from .limits import Limits, Sampling
from .loop import Run
from .memory import Memory
from .planning import Planning
from .profiles import Profile
from .results import OutT, RunResult
from .stream import RunStream, running
from .tools import Tool
from .tools.source import ToolSource, held
from .tracing import Tracer

if TYPE_CHECKING:
    from anyio.abc import TaskGroup
    from typing_extensions import TypeForm

    from .serve.app import Service

_log = logging.getLogger("ling_agent.agent")

NewT = TypeVar("NewT")


@dataclass(frozen=True, init=False)
class Agent(Generic[OutT]):
    """A model, its tools and how it works; safe to share between concurrent runs and event loops.

    Args:
        backend: A backend string such as ``llamacpp:qwen2.5-coder-0.5b``, a `Backend`, or None for
            the embedded default. Nothing is loaded before the first run.
        tools: Functions, `Tool` objects and tool sources such as an MCP server; no two tools with
            one name.
        instructions: System prompt.
        output_type: Type of the answer: ``str``, or whatever pydantic describes as JSON, such as a
            model, a dataclass, an Enum, a union or a list. Then the answer is checked, and asked
            for once more when it does not fit.
        planning: ``off``; ``inline``, the model begins with a plan in its own text; ``explicit``, a
            plan with steps is made first and revised when an observation contradicts it.
        memory: Where runs are kept for `resume`; in this process by default.
        limits: Bounds of every run.
        sampling: How tokens are chosen; greedy by default.
        profile: Facts about the model's family, by name or as an object, in place of those that the
            backend string stands for; a `Backend` object brings its own.
        name: For logs and as the name of the tool that `as_tool` makes.
        deps_type: Type of ``deps``, for documentation and type checkers.
        hooks: Functions before and after model and tool calls; see `ling_agent.hooks`.
        approve: Decides about calls of tools that need approval while the run waits: it takes an
            `ApprovalRequest` and returns True, False, `Deny`, `Edit`, or None to leave it to
            `resume`. Without it such a call ends the run as ``needs_approval``.
        tracing: Records what runs do, for example `ling_agent.tracing.OpenTelemetry`.
        secrets: ``SecretStr`` values that must not reach the model, events, logs and the store:
            what goes there (tasks, instructions and documents, too) has ``[secret]`` in their
            place. Those in a run's ``deps`` are found without being named here. Tools, hooks and
            ``approve`` get what there is.

    Raises:
        ConfigurationError: A tool cannot be used, or an argument is not one of its values.
    """

    backend: Backend | str | None
    tools: tuple[ToolLike, ...]
    instructions: str
    output_type: TypeForm[OutT]
    planning: Planning
    memory: Memory
    limits: Limits
    sampling: Sampling
    profile: Profile | str | None
    name: str
    deps_type: type[Any] | None
    hooks: tuple[Hook, ...]
    approve: Approver | None
    tracing: Tracer | None
    secrets: tuple[object, ...] = field(repr=False)
    _configuration: Configuration = field(repr=False, compare=False, init=False)

    def __init__(
        self,
        backend: Backend | str | None = None,
        *,
        tools: Sequence[ToolLike] = (),
        instructions: str = "",
        output_type: TypeForm[OutT] = str,
        planning: Planning = "inline",
        memory: Memory | None = None,
        limits: Limits | None = None,
        sampling: Sampling | None = None,
        profile: Profile | str | None = None,
        name: str = "agent",
        deps_type: type[Any] | None = None,
        hooks: Sequence[Hook] = (),
        approve: Approver | None = None,
        tracing: Tracer | None = None,
        secrets: Sequence[object] = (),
    ) -> None:
        made = configured(
            backend=backend,
            profile=profile,
            tools=tools,
            output_type=output_type,
            planning=planning,
            memory=memory,
            limits=limits,
            sampling=sampling,
            hooks=hooks,
            tracing=tracing,
            secrets=secrets,
            instructions=instructions,
            name=name,
            approve=approve,
        )
        vars(self).update(  # a frozen dataclass takes no assignments
            backend=backend,
            tools=made.given,
            instructions=instructions,
            output_type=output_type,
            planning=planning,
            memory=made.memory,
            limits=made.limits,
            sampling=made.sampling,
            profile=profile,
            name=name,
            deps_type=deps_type,
            hooks=made.functions,
            approve=approve,
            tracing=tracing,
            secrets=made.secrets,
            _configuration=made,
        )
        for note in made.backend.tool_notes(made.tools.schemas):
            _log.warning(note)

    @overload
    def with_options(self, *, output_type: TypeForm[NewT], **changes: Any) -> Agent[NewT]: ...
    @overload
    def with_options(self, **changes: Any) -> Agent[OutT]: ...
    def with_options(self, **changes: Any) -> Agent[Any]:
        """A copy with some of the arguments changed; it shares the model and the memory.

        That of a subclass is one of it, with the same attributes; its ``__init__`` is not called.

        Raises:
            ConfigurationError: There is no such argument, or it is not one of its values.
        """
        kept = {f.name: getattr(self, f.name) for f in fields(Agent) if f.init}
        if unknown := sorted(changes.keys() - kept.keys()):
            raise ConfigurationError(
                f"with_options: an agent has no {', '.join(unknown)}; it has {', '.join(kept)}"
            )
        same_model = not {"backend", "profile"} & changes.keys()
        if same_model:
            kept |= {"backend": self._configuration.backend, "profile": None}
        copy: Agent[Any] = object.__new__(type(self))
        vars(copy).update(vars(self))
        init: Any = Agent.__init__  # not the subclass's
        init(copy, **{**kept, **changes})
        if same_model:
            vars(copy).update(backend=self.backend, profile=self.profile)
        if "memory" not in changes and not self._configuration.own_memory:
            vars(copy)["_configuration"] = replace(copy._configuration, own_memory=False)
        return copy

    @property
    def sources(self) -> tuple[ToolSource, ...]:
        """Those of its ``tools`` that stand for several, such as MCP servers."""
        return self._configuration.sources

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[Agent[OutT], None]:
        """Keep the connections of its tool sources open, in place of one for each run."""
        async with held(self.sources):
            yield self

    async def run(
        self,
        task: str,
        *,
        session: str | None = None,
        documents: Sequence[DocumentLike] = (),
        deps: Any = None,
        limits: Limits | None = None,
        cancel: CancelToken | None = None,
    ) -> RunResult[OutT]:
        """Work on the task until there is an answer or a limit.

        Args:
            task: What to do.
            session: Name of a conversation that this task continues, kept in the agent's memory;
                one run at a time.
            documents: Paths to text files, texts, or `Document` objects that the task is about. As
                much as fits is shown to the model, which finds the rest with its recall tools.
            deps: Your own object, handed to tools as ``ctx.deps``.
            limits: In place of the agent's.
            cancel: Stops the answer or ends the run from outside, with its result.

        Raises:
            ConfigurationError: The task is empty, a document cannot be read, the backend is
                configured wrongly, or a run of the session has not ended, here or elsewhere.
            StoreError: The session cannot be read, or the run cannot be kept. A store that fails
                later ends the run with status ``failed``.
            BackendError: The model could not be asked even once. Later errors end the run as a
                result with status ``failed``: it holds what was done until then.
            Vetoed: A hook refused the task.
        """
        options = Options(session, documents, deps, limits, cancel or CancelToken(), watched=False)
        async with started(self._configuration, task, options, nobody) as run:
            return await execute(run)

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
        within: TaskGroup | None = None,
    ) -> AsyncGenerator[RunStream[OutT], None]:
        """Like `run`, with events while it works; leaving the context early cancels the run.

        Args:
            task: See `run`, also for those not named here.
            session: See `run`.
            documents: See `run`.
            deps: See `run`.
            limits: See `run`.
            cancel: See `run`.
            within: A task group of yours in which the run lives, so that it can go on when the
                context is left; see `RunStream.detach`.
        """
        token = CancelToken()  # the stream's own: cancelling it leaves the caller's alone
        options = Options(session, documents, deps, limits, token)

        def opened(emit: Emit) -> AbstractAsyncContextManager[Run]:
            return _following(cancel, token, started(self._configuration, task, options, emit))

        async with running(token, opened, within) as stream:
            yield stream

    async def resume(
        self,
        run_id: str,
        *,
        approvals: Mapping[str, Approval] | None = None,
        deps: Any = None,
        limits: Limits | None = None,
        cancel: CancelToken | None = None,
    ) -> RunResult[OutT]:
        """Go on with a run that a limit, a stop, a failure or an approval ended.

        Args:
            run_id: Of the earlier result.
            approvals: Decisions by call id: True, False, `Deny` or `Edit`.
            deps: Your own object for the tools.
            limits: In place of the agent's; they count from here on.
            cancel: Stops the answer or ends the run from outside.

        Raises:
            StoreError: The run is not kept.
            ConfigurationError: The run has completed, has not ended yet, or an approval is for no
                call that waits.
        """
        options = Options(None, (), deps, limits, cancel or CancelToken(), watched=False)
        opened = resumed(self._configuration, run_id, approvals or {}, options, nobody)
        async with opened as run:
            return await execute(run)

    @asynccontextmanager
    async def resume_stream(
        self,
        run_id: str,
        *,
        approvals: Mapping[str, Approval] | None = None,
        deps: Any = None,
        limits: Limits | None = None,
        cancel: CancelToken | None = None,
        within: TaskGroup | None = None,
    ) -> AsyncGenerator[RunStream[OutT], None]:
        """`resume` with events, as `stream` is `run` with events."""
        token = CancelToken()
        options = Options(None, (), deps, limits, token)

        def opened(emit: Emit) -> AbstractAsyncContextManager[Run]:
            goes_on = resumed(self._configuration, run_id, approvals or {}, options, emit)
            return _following(cancel, token, goes_on)

        async with running(token, opened, within) as stream:
            yield stream

    def run_sync(
        self,
        task: str,
        *,
        session: str | None = None,
        documents: Sequence[DocumentLike] = (),
        deps: Any = None,
        limits: Limits | None = None,
        cancel: CancelToken | None = None,
    ) -> RunResult[OutT]:
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

    @contextmanager
    def stream_sync(
        self, task: str, **options: Unpack[RunOptions]
    ) -> Generator[SyncRunStream[OutT], None, None]:
        """`stream` for synchronous code; it also works (and blocks) where an event loop runs.

        Args:
            task: See `run`.
            options: Those of `run`.
        """
        with streaming_blocking(self.stream(task, **options)) as stream:
            yield stream

    def resume_sync(self, run_id: str, **options: Unpack[ResumeOptions]) -> RunResult[OutT]:
        """`resume` for synchronous code, as `run_sync` is `run`."""
        token = options.get("cancel") or CancelToken()
        chosen: ResumeOptions = {**options, "cancel": token}
        return run_blocking(lambda: self.resume(run_id, **chosen), token.cancel)

    def as_tool(self, *, name: str | None = None, description: str | None = None) -> Tool[..., Any]:
        """This agent as a tool of another: it takes a task and returns the answer.

        Its run has the name of the call behind that of the other's run, is kept in the other's
        memory unless this agent has been given one, and is gone on with when the other's is
        resumed. It works with the other's ``deps`` and its own tools and limits; tokens and calls
        count on the other's limits too. Its events come as `SubagentEvent`, calls of it that wait
        for approval with ``call/`` in front of their ids.
        """
        return tool_of(
            self._configuration,
            name=name or self.name,
            description=description or f"Ask the agent {self.name} to do a task.",
        )

    def asgi(self, **options: Any) -> Service:
        """This agent behind OpenAI's chat API, as an ASGI app to mount into yours.

        Args:
            options: Those of `ling_agent.serve.asgi`.
        """
        from .serve import asgi

        return asgi(self, **options)


@asynccontextmanager
async def _following(
    cancel: CancelToken | None, token: CancelToken, opened: AbstractAsyncContextManager[Run]
) -> AsyncGenerator[Run, None]:
    """A run that the caller's token ends as its stream's own does, also when nobody reads it."""
    with following(token, cancel):
        async with opened as run:
            yield run
