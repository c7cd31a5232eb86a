"""A function's parameters, with their annotations resolved: what a schema can be made from."""

from __future__ import annotations

import functools
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigurationError
from .context import RunContext

EMPTY: Any = inspect.Parameter.empty
_CONTEXT_TEXT = re.compile(
    r"^\s*(?:\w+\.)*RunContext\s*(?:\[.*\])?\s*(?:\|\s*None\s*)?$", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter that the model fills in; `default` is `EMPTY` when it is required."""

    name: str
    annotation: Any
    default: Any
    positional_only: bool


@dataclass(frozen=True, slots=True)
class Signature:
    """What calling the function takes.

    Attributes:
        parameters: In the order in which they are written, without the context parameter.
        context: Name of the parameter that takes the `RunContext`, if there is one.
        extra: Annotation of `**kwargs`; `EMPTY` when the function has none.
        namespace: Local names that the annotations may use.
        positional: Names to be passed by position, in order (they may include `context`).
    """

    parameters: tuple[Parameter, ...]
    context: str | None
    extra: Any
    namespace: dict[str, Any]
    positional: tuple[str, ...]


def describe(f: Callable[..., Any]) -> str:
    """`module.qualname` of a callable, for messages."""
    target = plain_function(f)
    name = getattr(target, "__qualname__", type(f).__qualname__)
    return f"{getattr(target, '__module__', '?')}.{name}"


def plain_function(f: Callable[..., Any]) -> Callable[..., Any]:
    """The function below `functools.partial`, a bound method or a callable object."""
    while isinstance(f, functools.partial):
        f = f.func
    if isinstance(f, types.MethodType):
        return f.__func__
    if isinstance(f, types.FunctionType | types.BuiltinFunctionType | type):
        return f
    return getattr(type(f), "__call__", f)  # noqa: B004 - the function is wanted


def read_signature(f: Callable[..., Any]) -> Signature:
    """Read the parameters of `f`.

    Raises:
        ConfigurationError: A parameter has no annotation or one that cannot be resolved, or the
            function takes `*args`.
    """
    where = describe(f)
    bound = _bound_keywords(f)
    namespace = local_namespace(f)
    parameters: list[Parameter] = []
    positional: list[str] = []
    context: str | None = None
    extra: Any = EMPTY
    for name, raw in _inspect(f, where).items():
        if name in bound:
            continue
        if raw.kind is raw.VAR_POSITIONAL:
            raise ConfigurationError(
                f"tool {where}: a model passes arguments by name, so '*{name}' cannot be filled; "
                f"take a list instead, for example '{name}: list[str]'"
            )
        annotation = _resolve(f, raw, namespace, where)
        if raw.kind is raw.VAR_KEYWORD:
            extra = annotation
            continue
        if raw.kind is raw.POSITIONAL_ONLY:
            positional.append(name)
        if annotation is RunContext:
            if context is not None:
                raise ConfigurationError(
                    f"tool {where}: '{context}' and '{name}' are both RunContext; keep one"
                )
            context = name
            continue
        parameters.append(Parameter(name, annotation, raw.default, raw.kind is raw.POSITIONAL_ONLY))
    return Signature(tuple(parameters), context, extra, namespace, tuple(positional))


def context_parameter(f: Callable[..., Any]) -> str | None:
    """Name of the `RunContext` parameter of a raw-schema handler, whose other hints are free."""
    try:
        raw_parameters = inspect.signature(f).parameters
    except (TypeError, ValueError, NameError):
        return None
    for name, raw in raw_parameters.items():
        annotation: object = raw.annotation
        if is_context(annotation) or (
            isinstance(annotation, str) and _CONTEXT_TEXT.match(annotation)
        ):
            return name
    return None


def is_context(annotation: object) -> bool:
    """True for `RunContext`, `RunContext[X]`, and either of them `| None`."""
    if annotation is RunContext or typing.get_origin(annotation) is RunContext:
        return True
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return any(is_context(option) for option in typing.get_args(annotation))
    return False


def local_namespace(f: Callable[..., Any]) -> dict[str, Any]:
    """Names that annotations of a function defined inside a function may use.

    `from __future__ import annotations` leaves only text, and a closure keeps only the names that
    the body uses. The functions around `f` are still running while it is decorated, so their
    variables are read from the stack, outermost first, matched by qualified name and module.
    """
    target = plain_function(f)
    target = inspect.unwrap(target)
    namespace: dict[str, Any] = {}
    code: types.CodeType | None = getattr(target, "__code__", None)
    parts: list[str] = getattr(target, "__qualname__", "").split(".<locals>")
    outer = {".<locals>".join(parts[:count]) for count in range(1, len(parts))}
    if outer:
        frames: list[dict[str, Any]] = []
        frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
        while frame is not None:
            same_module = frame.f_globals is getattr(target, "__globals__", None)
            if same_module and frame.f_code.co_qualname in outer:
                frames.append(dict(frame.f_locals))
            frame = frame.f_back
        for frame_locals in reversed(frames):
            namespace.update(frame_locals)
    cells: Any = getattr(target, "__closure__", None)
    if code is not None and cells:
        for name, cell in zip(code.co_freevars, cells, strict=True):
            try:
                namespace[name] = cell.cell_contents
            except ValueError:
                continue  # not assigned yet
    return namespace


def _inspect(f: Callable[..., Any], where: str) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(f).parameters)
    except (TypeError, ValueError, NameError) as error:
        raise ConfigurationError(
            f"tool {where}: its signature cannot be read ({error}); wrap it in a function with "
            "annotated parameters"
        ) from None


def _bound_keywords(f: Callable[..., Any]) -> set[str]:
    """Keywords that `functools.partial` has filled: they are not the model's to set."""
    bound: set[str] = set()
    while isinstance(f, functools.partial):
        bound.update(f.keywords)
        f = f.func
    return bound


def _resolve(
    f: Callable[..., Any], raw: inspect.Parameter, namespace: dict[str, Any], where: str
) -> Any:
    """The parameter's annotation as a type; plain `RunContext` for any form of it."""
    annotation: Any = raw.annotation
    if annotation is EMPTY:
        if raw.kind is raw.VAR_KEYWORD:
            return Any
        if raw.name in ("self", "cls"):
            raise ConfigurationError(
                f"tool {where}: '{raw.name}' is not the model's to fill; decorate the bound "
                "method, for example tool(obj.method)"
            )
        raise ConfigurationError(
            f"tool {where}: parameter '{raw.name}' has no annotation; write its type, for example "
            f"'{raw.name}: str'"
        )
    if isinstance(annotation, str) and _CONTEXT_TEXT.match(annotation):
        return RunContext  # its argument may exist for type checkers only
    if is_context(annotation):
        return RunContext
    holder = types.SimpleNamespace(__annotations__={raw.name: annotation})
    target = inspect.unwrap(plain_function(f))
    global_names: dict[str, Any] = getattr(target, "__globals__", {})
    try:
        hints = typing.get_type_hints(holder, global_names, namespace, include_extras=True)
    except Exception as error:
        raise ConfigurationError(
            f"tool {where}: the annotation of '{raw.name}' ({annotation}) cannot be resolved: "
            f"{error}; import or define it where the tool is defined, not only under TYPE_CHECKING"
        ) from None
    resolved = hints[raw.name]
    return RunContext if is_context(resolved) else resolved
