"""`Form`: an output type as a JSON Schema and as the check of a JSON value."""

from __future__ import annotations

import functools
import inspect
import re
import sys
import types
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import TypedDict

from ..errors import ConfigurationError
from ..tools.coercion import coerce
from ..tools.problems import Problem
from ..tools.schema import Arguments
from ..tools.tidy import tidy_schema
from ..tools.typed_dicts import portable
from ..tools.validation import Checker, pydantic_checker

KEY = "answer"
"""Under which a value is wrapped whose schema is no object."""

_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Fit:
    """A value that is of the type.

    Attributes:
        value: As the caller gets it.
        json: The JSON value that it was read from, after coercion.
    """

    value: Any
    json: Any


@dataclass(frozen=True, slots=True)
class Form:
    """One output type.

    Attributes:
        schema: JSON Schema whose root is an object.
        wrapped: Whether that object is ``{"answer": …}`` around the value.
        check: Takes ``{"answer": value}``, wrapped or not, so that a whole value is coerced and
            explained like any part of it.
        adapter: Of the same, for values that are no JSON.
    """

    schema: dict[str, Any]
    wrapped: bool
    check: Checker
    adapter: TypeAdapter[dict[str, Any]]

    def holds(self, value: object) -> bool:
        """Whether an object is of the type."""
        try:
            self.adapter.validate_python({KEY: value}, strict=True)
        except ValidationError:
            return False
        return True

    def fit(self, value: Any) -> Fit | list[Problem]:
        """The value of the type that a JSON value is, or what is wrong with it."""
        given = {KEY: value}
        result = self.check(given)
        if isinstance(result, list):
            given, _, result = coerce(self.check, given, result)
        if isinstance(result, list):
            return result
        return Fit(result[KEY], given[KEY])


def describe_form(output_type: Any) -> Form:
    """Describe and compile an output type.

    Raises:
        ConfigurationError: It is no type, or one without a JSON form.
    """
    name = type_name(output_type)
    _refuse_nonsense(output_type, name)
    namespace = _local_names(output_type)
    make: Any = TypedDict  # the functional form is opaque to type checkers
    try:
        fields = make("Answer", {KEY: portable(output_type, namespace)})
        fields.__pydantic_config__ = ConfigDict(extra="forbid")
        adapter: TypeAdapter[dict[str, Any]] = TypeAdapter(fields)
        adapter.rebuild(raise_errors=True, _types_namespace=namespace)
        generated = adapter.json_schema(schema_generator=_AnswerSchema)
    except PydanticUndefinedAnnotation as error:
        raise ConfigurationError(
            f"output_type {name}: '{error.name}' is not defined where its types are used; define "
            "or import it before the agent, not only under TYPE_CHECKING"
        ) from None
    except Exception as error:  # pydantic has several trees of them, and types have hooks
        raise ConfigurationError(_no_json(name, error)) from None
    whole = tidy_schema(generated)
    schema = _unwrapped(whole)
    check = pydantic_checker(Arguments(whole, adapter))
    return Form(whole if schema is None else schema, schema is None, check, adapter)


class _AnswerSchema(GenerateJsonSchema):
    """The schema that an answer is written by.

    Without defaults: nothing is left out for one, and a set's has another order each time. And
    without a ban on repeated items, which few servers can enforce: a set takes them as one.
    """

    def emit_warning(self, kind: object, detail: str) -> None:
        pass

    def default_schema(self, schema: Any) -> Any:
        return self.generate_inner(schema["schema"])

    def is_subclass_schema(self, schema: Any) -> Any:
        return self.handle_invalid_for_json_schema(schema, "a class is no value")

    def generator_schema(self, schema: Any) -> Any:
        return self.handle_invalid_for_json_schema(schema, "an iterable is checked too late")

    def set_schema(self, schema: Any) -> Any:
        return _repeatable(super().set_schema(schema))

    def frozenset_schema(self, schema: Any) -> Any:
        return _repeatable(super().frozenset_schema(schema))


def _repeatable(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "uniqueItems"}


def type_name(output_type: Any) -> str:
    """The type as it is written, in short, for messages."""
    plain = isinstance(output_type, type) and not get_args(output_type)
    if plain or inspect.isroutine(output_type):
        return output_type.__qualname__.rpartition("<locals>.")[2]
    text = " ".join(repr(output_type).split()).replace("typing.", "")
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"


def _refuse_nonsense(output_type: Any, name: str) -> None:
    """What pydantic would take for something else than a type."""
    if isinstance(output_type, str):
        raise ConfigurationError(f"output_type {name}: give the type itself, not its name")
    if output_type is None or output_type is type(None):
        raise ConfigurationError(
            f"output_type {name}: an answer that is always null says nothing; leave it out for text"
        )
    if isinstance(output_type, TypeVar):
        raise ConfigurationError(f"output_type {name}: give a type in place of the variable")
    if inspect.isroutine(output_type) or isinstance(
        output_type, functools.partial | types.ModuleType
    ):
        raise ConfigurationError(
            f"output_type {name}: not a type; give the type that it returns, and functions as "
            "tools=[…]"
        )


def _no_json(name: str, error: Exception) -> str:
    reason = re.split(r"[\n.](?:\s|$)", str(error).strip(), maxsplit=1)[0].rstrip(".")
    return (
        f"output_type {name}: a type without a JSON form ({reason}); use JSON types, pydantic "
        "models, dataclasses, TypedDict, Enum or Literal"
    )


def _unwrapped(whole: dict[str, Any]) -> dict[str, Any] | None:
    """The value's own schema where it is an object's, else None.

    A recursive type is a reference to its definition; what it refers to takes its place.
    """
    definitions: dict[str, Any] = whole.get("$defs", {})
    schema: Any = whole["properties"][KEY]
    if isinstance(schema, dict) and set(schema) == {"$ref"}:  # pyright: ignore[reportUnknownArgumentType]
        schema = definitions.get(str(schema["$ref"]).removeprefix("#/$defs/"), {})  # pyright: ignore[reportUnknownArgumentType]
    if not isinstance(schema, dict) or schema.get("type") != "object":  # pyright: ignore[reportUnknownMemberType]
        return None
    found: dict[str, Any] = {**schema}
    return {**found, "$defs": definitions} if definitions else found


def _local_names(output_type: Any) -> dict[str, Any]:
    """Names that the annotations of types defined inside a function may use.

    With postponed annotations a local dataclass holds only texts. The functions around it may still
    run; their variables are read from the stack, outermost first, as for the annotations of tools.
    """
    outer: set[tuple[str, str]] = set()
    stack, seen = [output_type], set[int]()
    while stack:
        found: Any = stack.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        stack.extend(get_args(found))
        parts = str(getattr(found, "__qualname__", "")).split(".<locals>")
        module = str(getattr(found, "__module__", ""))
        outer |= {(module, ".<locals>".join(parts[:count])) for count in range(1, len(parts))}
    frames: list[dict[str, Any]] = []
    frame = sys._getframe(1) if outer else None  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        if (str(frame.f_globals.get("__name__")), frame.f_code.co_qualname) in outer:
            frames.append(dict(frame.f_locals))
        frame = frame.f_back
    return {name: value for names in reversed(frames) for name, value in names.items()}
