"""From a signature to a JSON Schema and the pydantic validator of the same arguments."""

from __future__ import annotations

import json
import re
import typing
from dataclasses import dataclass, replace
from typing import Any, NotRequired

from pydantic import ConfigDict, Field, PydanticUserError, TypeAdapter
from pydantic.errors import (
    PydanticInvalidForJsonSchema,
    PydanticSchemaGenerationError,
    PydanticUndefinedAnnotation,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticSerializationError, SchemaError, to_jsonable_python
from typing_extensions import TypedDict

from ..errors import ConfigurationError
from .signature import EMPTY, Parameter, Signature
from .tidy import tidy_schema
from .typed_dicts import portable


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of one function: how they are described, and how they are checked."""

    schema: dict[str, Any]
    adapter: TypeAdapter[dict[str, Any]]


def build_arguments(where: str, signature: Signature, texts: dict[str, str]) -> Arguments:
    """Describe and compile the arguments of a function.

    Args:
        where: The function's name for messages.
        signature: Its parameters.
        texts: Parameter texts of its docstring; a text in the annotation itself wins.

    Raises:
        ConfigurationError: An annotation has no JSON form.
    """
    fields: dict[str, Any] = {}
    for parameter in signature.parameters:
        portable_one = replace(
            parameter, annotation=portable(parameter.annotation, signature.namespace)
        )
        fields[parameter.name] = _field(portable_one, texts.get(parameter.name))
    adapter = _compile(where, signature, fields)
    try:
        schema = adapter.json_schema(schema_generator=_QuietSchema)
    except (PydanticInvalidForJsonSchema, PydanticUserError) as error:
        raise ConfigurationError(_no_json(where, error)) from None
    return Arguments(tidy_schema(schema), adapter)


class _QuietSchema(GenerateJsonSchema):
    """A default without a JSON form is left out of the schema; that needs no warning."""

    def emit_warning(self, kind: object, detail: str) -> None:
        pass

    def encode_default(self, dft: Any) -> Any:
        encoded = super().encode_default(dft)
        try:
            # "constants": inside a list, pydantic would write them as null, which they are not.
            plain = to_jsonable_python(dft, inf_nan_mode="constants")
            json.dumps(plain, allow_nan=False, ensure_ascii=False).encode()
        except ValueError:  # NaN, an infinity, a lone surrogate
            raise PydanticSerializationError("no JSON form") from None
        return encoded


def _field(parameter: Parameter, text: str | None) -> Any:
    """One item of the arguments' TypedDict: type, constraints, default and text."""
    annotation = parameter.annotation
    default = parameter.default
    metadata: tuple[Any, ...] = getattr(annotation, "__metadata__", ())
    infos = [item for item in metadata if isinstance(item, FieldInfo)]
    if isinstance(default, FieldInfo):
        infos.append(default)
        annotation = typing.Annotated[annotation, default]
    required = default is EMPTY or isinstance(default, FieldInfo)
    if required and any(not info.is_required() for info in infos):
        required = False  # the default is inside Field(...)
    options: dict[str, Any] = {}
    if not any(info.description for info in infos):
        plain = next((item for item in metadata if isinstance(item, str)), None)
        options["description"] = plain or text
    if default is not EMPTY and not isinstance(default, FieldInfo):
        options["default"] = default
    if any(value is not None or name == "default" for name, value in options.items()):
        annotation = typing.Annotated[annotation, Field(**options)]
    return annotation if required else NotRequired[annotation]


def _compile(
    where: str, signature: Signature, fields: dict[str, Any]
) -> TypeAdapter[dict[str, Any]]:
    make: Any = TypedDict  # the functional form is opaque to type checkers
    if signature.extra is EMPTY:
        arguments = make("Arguments", fields)
        arguments.__pydantic_config__ = ConfigDict(extra="forbid")
    elif signature.extra in (Any, object):
        arguments = make("Arguments", fields)
        arguments.__pydantic_config__ = ConfigDict(extra="allow")
    else:
        arguments = make("Arguments", fields, extra_items=signature.extra)
    try:
        adapter: TypeAdapter[dict[str, Any]] = TypeAdapter(arguments)
        # A local dataclass may itself use local names: give pydantic the same namespace.
        adapter.rebuild(raise_errors=True, _types_namespace=signature.namespace)
    except PydanticUndefinedAnnotation as error:
        raise ConfigurationError(
            f"tool {where}: '{error.name}' is not defined where its types are used; define or "
            "import it before the tool, not only under TYPE_CHECKING"
        ) from None
    except (PydanticSchemaGenerationError, PydanticUserError, SchemaError, TypeError) as error:
        raise ConfigurationError(_no_json(where, error)) from None
    return adapter


def _no_json(where: str, error: Exception) -> str:
    reason = re.split(r"[\n.](?:\s|$)", str(error).strip(), maxsplit=1)[0].rstrip(".")
    return (
        f"tool {where}: a parameter has a type without a JSON form ({reason}); use JSON types, "
        "pydantic models, dataclasses, TypedDict, Enum or Literal"
    )
