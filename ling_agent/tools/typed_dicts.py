"""`typing.TypedDict` on Python 3.11, where pydantic takes only the one of `typing_extensions`."""

from __future__ import annotations

import sys
import types
import typing
from typing import Annotated, Any, NotRequired, Union, get_args, get_origin

import typing_extensions

# What Python 3.12 added to `typing.TypedDict`, and pydantic relies on.
NEEDED = sys.version_info < (3, 12)


def portable(annotation: Any, namespace: dict[str, Any]) -> Any:
    """The annotation with each `typing.TypedDict` in it made one of `typing_extensions`.

    Those that a dataclass holds, and one that holds itself, stay: pydantic then says which import
    to change.

    Args:
        annotation: A resolved annotation.
        namespace: Local names that the fields' annotations may use.
    """
    return _rebuilt(annotation, namespace, ()) if NEEDED else annotation


def _rebuilt(annotation: Any, namespace: dict[str, Any], outer: tuple[Any, ...]) -> Any:
    if typing.is_typeddict(annotation):
        foreign = type(annotation).__module__ != "typing"
        return (
            annotation if foreign or annotation in outer else _copied(annotation, namespace, outer)
        )
    origin: Any = get_origin(annotation)
    args = get_args(annotation)
    if origin is Annotated:
        inner = _rebuilt(args[0], namespace, outer)
        return annotation if inner is args[0] else Annotated[inner, *args[1:]]
    changed = tuple(_rebuilt(item, namespace, outer) for item in args)
    if all(new is old for new, old in zip(changed, args, strict=True)):
        return annotation
    if origin in (Union, types.UnionType):
        return Union[changed]  # noqa: UP007 - the members are known only here
    return origin[changed]


def _copied(typed: Any, namespace: dict[str, Any], outer: tuple[Any, ...]) -> Any:
    try:
        hints = typing.get_type_hints(typed, localns=namespace, include_extras=True)
    except Exception:
        return typed  # pydantic names what is not defined
    fields: dict[str, Any] = {}
    for key, hint in hints.items():
        marked = get_origin(hint) in (typing.Required, NotRequired)
        field = _rebuilt(get_args(hint)[0] if marked else hint, namespace, (*outer, typed))
        # With postponed annotations `__required_keys__` does not know the marks of the fields.
        required = get_origin(hint) is typing.Required if marked else key in typed.__required_keys__
        fields[key] = field if required else NotRequired[field]
    make: Any = typing_extensions.TypedDict  # the functional form is opaque to type checkers
    copied = make(typed.__name__, fields)
    copied.__doc__, copied.__module__ = typed.__doc__, typed.__module__
    config = getattr(typed, "__pydantic_config__", None)
    if config is not None:
        copied.__pydantic_config__ = config
    return copied
