"""Check a call's arguments: by pydantic for functions, by jsonschema for raw schemas.

Both report a `Problem` per path, so that both coerce and explain in the same way.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import ConfigurationError
from .coercion import coerce
from .problems import ArgumentError, Path, Problem, explain, json_kind, locate, short
from .wording import expected_by_pydantic, expected_by_schema

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from .schema import Arguments

# JSON arguments in; the keyword arguments of the function, or what is wrong, out.
Checker: TypeAlias = Callable[[dict[str, Any]], "dict[str, Any] | list[Problem]"]


@dataclass(frozen=True, slots=True)
class ValidatedCall:
    """Arguments that fit their schema.

    Attributes:
        arguments: Keyword arguments for the function: models, enums, tuples, defaults filled in.
        json_arguments: The same as the model meant them: JSON values after coercion, no defaults.
        coercions: One note per value that was read as another type, for people.
    """

    arguments: dict[str, Any]
    json_arguments: dict[str, Any]
    coercions: tuple[str, ...] = field(default=())


def validate(check: Checker, arguments: dict[str, Any], schema: dict[str, Any]) -> ValidatedCall:
    """Check `arguments`, with lossless coercions where something does not fit.

    Raises:
        ArgumentError: They do not fit; one line per problem.
    """
    result = check(arguments)
    if not isinstance(result, list):
        return ValidatedCall(result, arguments)
    coerced, notes, final = coerce(check, arguments, result)
    if isinstance(final, list):
        raise ArgumentError(explain(final, schema))
    return ValidatedCall(final, coerced, tuple(notes))


def pydantic_checker(arguments: Arguments) -> Checker:
    """A checker for a function: strict JSON rules, so that nothing is converted silently."""
    from pydantic import ValidationError

    adapter = arguments.adapter

    def check(values: dict[str, Any]) -> dict[str, Any] | list[Problem]:
        try:
            text = json.dumps(values)
        except (TypeError, ValueError, RecursionError) as error:
            return [Problem((), "JSON values", note=f"not JSON: {error}")]
        try:
            return dict(adapter.validate_json(text, strict=True))
        except ValidationError as error:
            details = error.errors(include_url=False)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            # TypeError and the like escape from a type's own validator.
            return [Problem((), "", note=f"{type(error).__name__}: {error}")]
        return [_problem(item, values) for item in details]

    return check


def _problem(item: ErrorDetails, values: dict[str, Any]) -> Problem:
    kind, message = item["type"], item["msg"]
    path = locate(item["loc"], values, missing=kind in ("missing", "missing_argument"))
    if kind == "missing":
        return Problem(path, "", missing=True)
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):  # of a dataclass
        return Problem(path, "", unknown=True)
    if kind == "json_invalid":
        return Problem((), "", note=f"not usable as JSON: {message.removeprefix('Invalid JSON: ')}")
    context = item.get("ctx", {})
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _tag_problem(path, kind, context)
    expected = expected_by_pydantic(kind, message, context)
    if item["loc"] and item["loc"][-1] == "[key]":
        return Problem(path, f"a key that is {expected}", value=item["input"], fixed=True)
    if kind in ("value_error", "assertion_error"):
        return Problem(path, "", value=item["input"], note=message.split(", ", 1)[-1])
    wrong_type = kind.endswith(("_type", "_parsing")) or kind in ("enum", "literal_error")
    return Problem(path, expected, value=item["input"], wrong_type=wrong_type)


def _tag_problem(path: Path, kind: str, context: dict[str, Any]) -> Problem:
    """A discriminated union whose tag is absent, or is none of those that exist."""
    tag = str(context["discriminator"])
    if not (tag.startswith("'") and tag.endswith("'")):
        return Problem(path, "", note=f"no member of the union has the tag that {tag} finds")
    place = (*path, tag[1:-1])
    if kind == "union_tag_not_found":
        return Problem(place, "", missing=True)
    return Problem(place, f"one of {context['expected_tags']}", context["tag"], wrong_type=True)


def schema_checker(name: str, schema: dict[str, Any]) -> Checker:
    """A checker for a raw JSON Schema; references are resolved inside the schema only.

    Raises:
        ConfigurationError: The schema is not valid, not an object, or refers to something outside.
    """
    if not isinstance(schema, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(
            f"tool '{name}': the parameters must be a JSON Schema as a dict, "
            f"not {type(schema).__name__}"
        )
    if schema.get("type", "object") != "object":
        raise ConfigurationError(
            f"tool '{name}': the parameters must be a schema of type 'object', "
            f"not {schema.get('type')!r}"
        )
    # Imported here: it costs 80 ms, and only raw schemas need it.
    from jsonschema import Draft202012Validator, SchemaError, validators
    from referencing import Registry, exceptions

    library: Any = validators  # its functions have no types
    base: Any = library.validator_for(schema, default=Draft202012Validator)
    try:
        base.check_schema(schema)
    except SchemaError as error:
        place = "/".join(str(part) for part in error.absolute_path) or "the top level"
        raise ConfigurationError(
            f"tool '{name}': not a valid JSON Schema at {place}: {error.message[:200]}"
        ) from None
    # jsonschema takes 3.0 for an integer; a handler that expects an int would get a float.
    types = base.TYPE_CHECKER.redefine("integer", _is_integer)
    # An empty registry: the default one would fetch unknown references from the network.
    registry: Registry[Any] = Registry()
    validator: Any = library.extend(base, type_checker=types)(schema, registry=registry)
    _require_local_references(name, schema, validator)

    def check(values: dict[str, Any]) -> dict[str, Any] | list[Problem]:
        try:
            problems = [
                problem
                for error in validator.iter_errors(values)
                for problem in _schema_problems(error, values)
            ]
        except (exceptions.Unresolvable, RecursionError) as error:
            return [Problem((), "", note=f"the tool's schema cannot be applied: {error}")]
        # A copy: what a handler does to its arguments must not change the trajectory.
        return problems or copy.deepcopy(values)

    return check


def _is_integer(checker: object, instance: object) -> bool:
    return isinstance(instance, int) and not isinstance(instance, bool)


def _require_local_references(name: str, schema: dict[str, Any], validator: Any) -> None:
    """Refuse a reference that cannot be resolved now rather than in the middle of a run."""
    from referencing import exceptions

    stack: list[Any] = [schema]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            reference: Any = node.get("$ref")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            if isinstance(reference, str) and "$id" not in schema:
                try:
                    validator._resolver.lookup(reference)
                except exceptions.Unresolvable:
                    raise ConfigurationError(
                        f"tool '{name}': the schema refers to '{reference}', which is not in it; "
                        "put the definition under $defs"
                    ) from None
            stack.extend(node.values())  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
        elif isinstance(node, list):
            stack.extend(node)  # pyright: ignore[reportUnknownArgumentType]


def _any(value: Any) -> Any:
    return value


def _schema_problems(error: Any, values: dict[str, Any]) -> list[Problem]:
    """jsonschema's error as ours; alternatives are opened, so that each can be coerced."""
    path: Path = tuple(error.absolute_path)
    rule: str = error.validator
    expected = _any(error.validator_value)
    if rule == "required":
        present: set[str] = set(error.instance)
        missing = [key for key in expected if key not in present]
        # jsonschema reports each missing key on its own; take the one that this error names.
        named = [key for key in missing if error.message.startswith(repr(key))]
        return [Problem((*path, key), "", missing=True) for key in named[:1]]
    if rule == "additionalProperties" and not expected:
        known: set[str] = set(error.schema.get("properties", {}))
        patterns = error.schema.get("patternProperties")
        if not patterns:
            return [
                Problem((*path, key), "", unknown=True)
                for key in error.instance
                if key not in known
            ]
    if rule in ("anyOf", "oneOf") and error.context:
        return [item for inner in error.context for item in _schema_problems(inner, values)]
    if rule == "type":
        names: list[str] = [expected] if isinstance(expected, str) else expected
        kinds = " or ".join(json_kind(item) for item in names)
        return [Problem(path, kinds, error.instance, wrong_type=True)]
    if rule == "enum":
        allowed: list[Any] = expected
        options = ", ".join(short(item, 40) for item in allowed)
        return [Problem(path, f"one of {options}", error.instance, wrong_type=True)]
    if rule == "const":
        return [Problem(path, short(expected, 80), error.instance, wrong_type=True)]
    return [Problem(path, expected_by_schema(rule, expected), error.instance)]
