"""An agent's arguments, checked; and those of one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from .answers import AnswerSpec
from .approvals import Approval, Approver
from .backends import Backend, open_backend
from .cancellation import CancelToken
from .documents import DocumentLike
from .errors import ConfigurationError
from .hooks import Hook, Hooks
from .limits import Limits, Sampling
from .memory import Memory
from .planning import HINTS, Planning
from .profiles import Profile
from .subagents import Host
from .tools import Tool, Toolset
from .tools.source import ToolSource
from .tracing import NO_TRACER, Tracer

ToolLike = Tool[..., Any] | ToolSource | Callable[..., Any]


class RunOptions(TypedDict, total=False):
    """Keyword arguments of `Agent.run` and its likes."""

    session: str | None
    documents: Sequence[DocumentLike]
    deps: Any
    limits: Limits | None
    cancel: CancelToken | None


class ResumeOptions(TypedDict, total=False):
    """Keyword arguments of `Agent.resume` and its likes."""

    approvals: Mapping[str, Approval] | None
    deps: Any
    limits: Limits | None
    cancel: CancelToken | None


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


@dataclass(frozen=True, slots=True)
class Configuration:
    """An agent's arguments, checked and made into what a run needs; see `Agent`.

    Attributes:
        given: All that stands in ``tools``, in order.
        tools: Those of them that are there before a run begins.
        sources: The others.
        functions: All that stands in ``hooks``, in order.
        own_memory: Whether the agent was given a memory.
    """

    name: str
    backend: Backend
    given: tuple[ToolLike, ...]
    tools: Toolset
    sources: tuple[ToolSource, ...]
    instructions: str
    answer: AnswerSpec[Any]
    planning: Planning
    memory: Memory
    limits: Limits
    sampling: Sampling
    functions: tuple[Hook, ...]
    hooks: Hooks
    approve: Approver | None
    tracing: Tracer
    secrets: tuple[object, ...]
    own_memory: bool


def configured(
    *,
    backend: Backend | str | None,
    profile: Profile | str | None,
    tools: Sequence[ToolLike],
    output_type: Any,
    planning: Planning,
    memory: Memory | None,
    limits: Limits | None,
    sampling: Sampling | None,
    hooks: Sequence[Hook],
    tracing: Tracer | None,
    secrets: Sequence[object],
    instructions: str,
    name: str,
    approve: Approver | None,
) -> Configuration:
    """Check an agent's arguments.

    Raises:
        ConfigurationError: One is not what it should be; the message says which.
    """
    if planning not in HINTS:
        raise ConfigurationError(f"planning={planning!r}: write 'off', 'inline' or 'explicit'")
    _check("memory", memory, Memory, "a Memory, such as Memory(store)")
    _check("limits", limits, Limits, "a Limits object, such as Limits(max_steps=8)")
    _check("sampling", sampling, Sampling, "a Sampling, such as Sampling(temperature=0.7)")
    if tracing is not None and not callable(getattr(tracing, "run", None)):
        raise ConfigurationError(f"tracing={tracing!r}: give a tracer, such as OpenTelemetry()")
    if approve is not None and not callable(approve):  # pyright: ignore[reportUnnecessaryComparison]
        raise ConfigurationError(f"approve={approve!r}: give a function")
    given = _tuple("tools", tools, "functions and Tool objects")
    functions = _tuple("hooks", hooks, "functions")
    return Configuration(
        name=name,
        backend=open_backend(backend, profile=profile),
        given=given,
        tools=Toolset(item for item in given if not _is_source(item)),
        sources=tuple(item for item in given if _is_source(item)),
        instructions=instructions,
        answer=AnswerSpec[Any].of(output_type),
        planning=planning,
        memory=memory or Memory(),
        limits=limits or Limits(),
        sampling=sampling or Sampling(),
        functions=functions,
        hooks=Hooks(functions),
        approve=approve,
        tracing=NO_TRACER if tracing is None else tracing,
        secrets=tuple(secrets),
        own_memory=memory is not None,
    )


def _check(name: str, value: object, kind: type[Any], what: str) -> None:
    if value is not None and not isinstance(value, kind):
        raise ConfigurationError(f"{name}={value!r}: give {what}")


def _is_source(item: Any) -> bool:
    return isinstance(item, ToolSource) and not isinstance(item, type)


def _tuple(name: str, given: Sequence[Any], what: str) -> tuple[Any, ...]:
    try:
        return tuple(given)  # once: it may be a generator
    except TypeError:
        raise ConfigurationError(f"{name}: give a list of {what}") from None
