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
`AfterModel` hook calls wait for the end of their message, since it may refuse them; a message whose
hook was interrupted is not taken, and asked for again by `Agent.resume`. What a limit or a stop has
cut (the ``output`` of a run that did not complete) passes neither `AfterModel` nor `BeforeAnswer`;
calls in it that `AfterModel` should have seen are left out.

A `BeforeModel` veto in front of the first request raises `Vetoed`, and nothing is kept: there is no
work to be lost yet. A call passes `BeforeTool` before it is approved, and runs as it was approved;
what a person edits passes it again. Calls that are still open when a run is resumed pass it again,
too. Every change but that of a typed ``output`` is checked: a `ConfigurationError` says what is
wrong with it.

An exception in a hook is an error of the program: it ends the run and is raised. What was done
until then is kept.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, Union, cast

from .errors import ConfigurationError
from .limits import Sampling
from .messages import AssistantMessage, Message, ToolCall
from .results import Usage
from .tools.signature import local_namespace, plain_function


@dataclass(frozen=True, slots=True)
class Veto:
    """Do not go on; ``reason`` is told to the model where it can do something about it.

    Raises:
        ConfigurationError: There is none.
    """

    reason: str

    def __post_init__(self) -> None:
        if not isinstance(self.reason, str) or not self.reason.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"Veto({self.reason!r}): give the reason as a text")


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
        messages: The conversation so far; it is sent like this unless it has to be compacted first.
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
        annotation = _annotation(hook)
    except (StopIteration, NameError, TypeError, ValueError, AttributeError):
        raise ConfigurationError(_unusable(hook)) from None
    annotation = getattr(annotation, "__value__", annotation)  # of an alias made by `type X = …`
    union = typing.get_origin(annotation) in (Union, types.UnionType)
    kinds: list[Any] = list(typing.get_args(annotation)) if union else [annotation]
    if Moment in kinds:
        return list(_CHANGES)
    if not all(isinstance(kind, type) and kind in _CHANGES for kind in kinds):
        raise ConfigurationError(_unusable(hook))
    return kinds


def _annotation(hook: Hook) -> Any:
    """What a hook's parameter is annotated with; names are looked up where it was written."""
    signature = inspect.signature(hook)
    signature.bind(None)  # it is called with the moment and nothing else
    parameter = next(iter(signature.parameters.values()))
    function: Any = inspect.unwrap(plain_function(hook))
    # Of the other annotations some may only be there for type checkers.
    alone: Any = types.SimpleNamespace(__annotations__={"moment": parameter.annotation})
    names = getattr(function, "__globals__", {})
    return typing.get_type_hints(alone, names, local_namespace(function))["moment"]


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
    wrong = _wrong(after)
    if wrong:
        raise ConfigurationError(f"hook {name}: {wrong}")
    return after


def _wrong(moment: Moment) -> str:
    """Why a changed moment cannot be gone on with; empty when it can.

    Found here, before anything runs with it: later it would look like somebody else's mistake.
    """
    match moment:
        case BeforeRun(task=task):
            if not isinstance(task, str) or not task.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
                return "the task is empty: to refuse it, return Veto(reason)"
        case BeforeModel(sampling=sampling, note=note):
            if not isinstance(sampling, Sampling):  # pyright: ignore[reportUnnecessaryIsInstance]
                return "the sampling of BeforeModel must be a Sampling"
            if not isinstance(note, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                return "the note of BeforeModel must be a text, empty for none"
        case BeforeTool(arguments=arguments):
            if not _is_json_object(arguments):
                return "the arguments of BeforeTool must be a dictionary of JSON values"
        case AfterTool(text=text, is_error=is_error):
            if not isinstance(text, str) or not isinstance(is_error, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
                return "the text of AfterTool must be a text, and is_error a bool"
        case _:
            pass
    return ""


def _is_json_object(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    members: dict[Any, Any] = dict(cast("Mapping[Any, Any]", value))
    try:
        json.dumps(members, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return all(isinstance(key, str) for key in members)
