"""Hooks: your functions before and after model and tool calls, chosen by their annotation.

A hook takes one moment and returns None (go on), `Veto` with a reason, or the moment with other
values (``dataclasses.replace(moment, …)``). Its parameter's annotation says which moments it takes;
a union takes several. Hooks run in the order in which the agent has them, each with what the one
before it returned; the first veto ends the row. They may be coroutine functions.

==============  ===============================================  ================================
moment          may change                                       a veto
==============  ===============================================  ================================
`BeforeRun`     ``task``                                         raises `Vetoed`; nothing is kept
`BeforeModel`   ``sampling``, ``note`` (a message to the model)  ends the run as ``failed``
`AfterModel`    nothing                                          tells the model, which goes on
`BeforeTool`    ``arguments``                                    answers the call with the reason
`AfterTool`     ``text``, ``is_error``                           puts the reason in place of both
`BeforeAnswer`  ``output``                                       tells the model, which goes on
==============  ===============================================  ================================

The first and the last are the places for guardrails on input and output. What the model has read or
written is never changed: prompts would change behind the cache's back. While there is an
`AfterModel` hook calls wait for the end of their message, since it may refuse them.

An exception in a hook is an error of the program: it ends the run and is raised.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, Union

from .errors import ConfigurationError
from .limits import Sampling
from .messages import AssistantMessage, Message, ToolCall
from .results import Usage


@dataclass(frozen=True, slots=True)
class Veto:
    """Do not go on; ``reason`` is told to the model where it can do something about it."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What all moments have.

    Attributes:
        run_id: Name of the run or session.
        step: Model request, from 1; 0 before the first.
        deps: What the caller passed as ``deps``.
    """

    run_id: str
    step: int
    deps: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class BeforeRun(Moment):
    """A task was given and nothing has been done."""

    task: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BeforeModel(Moment):
    """The model is about to be asked for a message.

    Attributes:
        messages: The conversation as it is sent.
        sampling: How it is sampled.
        note: A message to the model that is added to the conversation; empty for none.
    """

    messages: tuple[Message, ...]
    sampling: Sampling
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AfterModel(Moment):
    """The model has written a message; none of its calls has begun."""

    message: AssistantMessage
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class BeforeTool(Moment):
    """A call is complete and is about to run, or to be shown to whoever approves it.

    Attributes:
        call_id: Of the call.
        name: Of the tool.
        arguments: As the model gave them, or an earlier hook or `Edit`; JSON values.
    """

    call_id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AfterTool(Moment):
    """A call that ran has its result, which nobody has read yet.

    Attributes:
        call: As it ran.
        text: What the model will read.
        is_error: Whether the tool failed.
        value: What the function returned; None after an error.
        seconds: How long it took.
    """

    call: ToolCall
    text: str
    is_error: bool
    value: object
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BeforeAnswer(Moment):
    """The run is about to complete with this output, of the agent's ``output_type``."""

    output: Any


_CHANGES: dict[type[Moment], frozenset[str]] = {
    BeforeRun: frozenset({"task"}),
    BeforeModel: frozenset({"sampling", "note"}),
    AfterModel: frozenset(),
    BeforeTool: frozenset({"arguments"}),
    AfterTool: frozenset({"text", "is_error"}),
    BeforeAnswer: frozenset({"output"}),
}

M = TypeVar("M", bound=Moment)
Hook = Callable[[Any], Any]


class Hooks:
    """An agent's hooks by the moment that they take.

    Args:
        hooks: In order.

    Raises:
        ConfigurationError: One takes no moment.
    """

    def __init__(self, hooks: Iterable[Hook] = ()) -> None:
        self._by_moment: dict[type[Moment], list[Hook]] = {kind: [] for kind in _CHANGES}
        for hook in hooks:
            for kind in _moments(hook):
                self._by_moment[kind].append(hook)

    def __contains__(self, kind: type[Moment]) -> bool:
        return bool(self._by_moment[kind])

    async def call(self, moment: M) -> M | Veto:
        """Let the hooks have a moment; what came of it."""
        for hook in self._by_moment[type(moment)]:
            returned: Any = hook(moment)
            if inspect.isawaitable(returned):
                returned = await returned
            if isinstance(returned, Veto):
                return returned
            if returned is not None:
                moment = _changed(hook, moment, returned)
        return moment


def _moments(hook: Hook) -> list[type[Moment]]:
    if not callable(hook):
        raise ConfigurationError(f"hooks: {hook!r} is not a function")
    try:
        parameter = next(iter(inspect.signature(hook).parameters.values()))
        annotation = _hints(hook)[parameter.name]
    except (StopIteration, KeyError, NameError, TypeError, ValueError):
        raise ConfigurationError(_unusable(hook)) from None
    union = typing.get_origin(annotation) in (Union, types.UnionType)
    kinds: list[Any] = list(typing.get_args(annotation)) if union else [annotation]
    if Moment in kinds:
        return list(_CHANGES)
    if not all(kind in _CHANGES for kind in kinds):
        raise ConfigurationError(_unusable(hook))
    return kinds


def _hints(hook: Hook) -> dict[str, Any]:
    function: Any = hook
    while isinstance(function, functools.partial):
        function = function.func
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        function = type(function).__call__
    return typing.get_type_hints(function)


def _unusable(hook: Hook) -> str:
    names = ", ".join(kind.__name__ for kind in _CHANGES)
    name = getattr(hook, "__qualname__", type(hook).__qualname__)
    return f"hook {name}: annotate its parameter with the moment that it takes: one of {names}"


def _changed(hook: Hook, before: M, after: object) -> M:
    """What a hook returned, with only that changed which may be.

    Raises:
        ConfigurationError: It is something else.
    """
    name = getattr(hook, "__qualname__", type(hook).__qualname__)
    if type(after) is not type(before):
        raise ConfigurationError(
            f"hook {name} returned {type(after).__name__}: return None, Veto(reason) or the "
            f"{type(before).__name__} that it was given, with other values"
        )
    for field in dataclasses.fields(before):
        new, old = getattr(after, field.name), getattr(before, field.name)
        if field.name not in _CHANGES[type(before)] and new is not old and new != old:
            raise ConfigurationError(
                f"hook {name} changed {field.name} of {type(before).__name__}, which cannot be "
                "changed"
            )
    return after
