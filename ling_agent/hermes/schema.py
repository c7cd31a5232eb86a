"""The declared tools: which names exist, and whether a value fits a parameter's JSON Schema."""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

Schema = Mapping[str, Any]
_Rule = Callable[[object, object], bool]

_NAME_PREFIX = re.compile(r"^(?:functions?|tools?)[.:/]")
_MAX_SCHEMA_DEPTH = 32


def as_mapping(value: object) -> Mapping[str, Any]:
    """`value` when it is a mapping, else an empty one."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def as_list(value: object) -> Sequence[Any]:
    """`value` when it is a list or tuple, else an empty list."""
    return cast("Sequence[Any]", value) if isinstance(value, list | tuple) else []


def one_line(text: str, limit: int = 128) -> str:
    """`text` without line breaks, at most `limit` characters: fit for a message of one line."""
    return " ".join(text[:limit].split())


class ToolBook:
    """The tools that the model was told about; without any (`None`), every name is accepted."""

    def __init__(self, tools: Iterable[Mapping[str, Any]] | None) -> None:
        self.declared = tools is not None
        self._parameters: dict[str, Schema] = {}
        for tool in tools or ():
            function = as_mapping(tool.get("function")) or tool
            name = function.get("name")
            if isinstance(name, str):
                self._parameters[name] = as_mapping(function.get("parameters"))

    def __contains__(self, name: object) -> bool:
        return not self.declared or name in self._parameters

    @property
    def has_tools(self) -> bool:
        """Whether any tool was declared."""
        return bool(self._parameters)

    def is_declared(self, name: object) -> bool:
        """Whether tools were given and `name` is one of them."""
        return name in self._parameters

    def parameters(self, name: str) -> Schema:
        """The JSON Schema of a tool's arguments; empty when nothing is known."""
        return self._parameters.get(name, {})

    def properties(self, name: str) -> Mapping[str, Any]:
        return as_mapping(self.parameters(name).get("properties"))

    def required(self, name: str) -> Sequence[Any]:
        return as_list(self.parameters(name).get("required"))

    def normalised(self, name: str) -> str | None:
        """The one declared name that `name` can only mean, or None.

        White space around the name, a `functions.` prefix, letter case and `-` for `_` are
        ignored; two candidates are no answer.
        """
        stripped = name.strip()
        if stripped in self and stripped:
            return stripped
        bare = _NAME_PREFIX.sub("", stripped)
        if self.is_declared(bare):
            return bare
        wanted = _folded(bare)
        found = [known for known in self._parameters if _folded(known) == wanted]
        return found[0] if len(found) == 1 else None

    def unknown(self, name: str) -> str:
        """One line for the model: the name, the nearest declared names and the whole list."""
        names = sorted(self._parameters)
        name = one_line(name)
        if not names:
            return f'Unknown tool "{name}": no tools are available, answer in plain text.'
        shown = ", ".join(names[:32]) + (f", … ({len(names)} in all)" if len(names) > 32 else "")
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        return f'Unknown tool "{name}".{hint} Available tools: {shown}.'


def _folded(name: str) -> str:
    return name.replace("-", "_").lower()


def accepts(schema: object, value: object, root: object = None, depth: int = 0) -> bool:
    """Whether `value` fits `schema`, as far as the common keywords say.

    Knows type, enum, const, bounds and lengths, properties, required, additionalProperties, items,
    prefixItems, anyOf, oneOf, allOf and `$ref` into the same document; anything else is taken to
    fit. It only guards repairs: the real validation of arguments is not the parser's.
    """
    if schema is False:
        return False
    if not isinstance(schema, Mapping) or depth > _MAX_SCHEMA_DEPTH:
        return True
    spec = cast("Schema", schema)
    root = spec if root is None else root
    if "$ref" in spec:
        return accepts(_resolve(spec["$ref"], root), value, root, depth + 1)
    if "const" in spec and not _same(spec["const"], value):
        return False
    if "enum" in spec and not any(_same(one, value) for one in as_list(spec["enum"])):
        return False
    kinds = types_of(spec)
    if kinds and not any(_is_type(kind, value) for kind in kinds):
        return False
    return (
        all(rule(value, spec[word]) for word, rule in _BOUNDS.items() if word in spec)
        and _accepts_alternatives(spec, value, root, depth)
        and _accepts_parts(spec, value, root, depth)
    )


def _bound(kinds: type | tuple[type, ...], holds: Callable[[Any, Any], bool]) -> _Rule:
    """A rule that binds values of some types only, as JSON Schema's bounds do."""

    def rule(value: object, bound: object) -> bool:
        bound_applies = isinstance(value, kinds) and not isinstance(value, bool)
        return not (bound_applies and isinstance(bound, int | float)) or holds(value, bound)

    return rule


_BOUNDS: Mapping[str, _Rule] = {
    "minimum": _bound((int, float), operator.ge),
    "maximum": _bound((int, float), operator.le),
    "exclusiveMinimum": _bound((int, float), operator.gt),
    "exclusiveMaximum": _bound((int, float), operator.lt),
    "minLength": _bound(str, lambda value, bound: len(value) >= bound),
    "maxLength": _bound(str, lambda value, bound: len(value) <= bound),
    "minItems": _bound(list, lambda value, bound: len(value) >= bound),
    "maxItems": _bound(list, lambda value, bound: len(value) <= bound),
}


def _accepts_alternatives(spec: Schema, value: object, root: object, depth: int) -> bool:
    for word in ("anyOf", "oneOf"):
        options = as_list(spec.get(word))
        if options and not any(accepts(one, value, root, depth + 1) for one in options):
            return False
    return all(accepts(one, value, root, depth + 1) for one in as_list(spec.get("allOf")))


def _accepts_parts(spec: Schema, value: object, root: object, depth: int) -> bool:
    if isinstance(value, list):
        members = cast("list[Any]", value)
        first = as_list(spec.get("prefixItems"))
        schemas = [*first[: len(members)], *[spec.get("items")] * (len(members) - len(first))]
        pairs = zip(schemas, members, strict=True)
        return all(accepts(one, member, root, depth + 1) for one, member in pairs)
    if not isinstance(value, dict):
        return True
    fields = cast("dict[str, Any]", value)
    declared = as_mapping(spec.get("properties"))
    if any(name not in fields for name in as_list(spec.get("required"))):
        return False
    extra = spec.get("additionalProperties", True)
    return all(
        accepts(declared.get(name, extra), member, root, depth + 1)
        for name, member in fields.items()
    )


def types_of(schema: object) -> tuple[str, ...]:
    """The JSON types that a schema names directly; empty when it names none."""
    kinds = as_mapping(schema).get("type")
    if isinstance(kinds, str):
        return (kinds,)
    return tuple(kind for kind in as_list(kinds) if isinstance(kind, str))


def _resolve(ref: object, root: object) -> object:
    target: object = root
    if not isinstance(ref, str) or not ref.startswith("#"):
        return True
    for part in ref[1:].strip("/").split("/"):
        if part:
            target = as_mapping(target).get(part.replace("~1", "/").replace("~0", "~"), True)
    return target


def _same(one: object, other: object) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _is_type(kind: str, value: object) -> bool:
    if isinstance(value, bool) or value is None:
        return kind == ("null" if value is None else "boolean")
    if isinstance(value, int):
        return kind in ("integer", "number")
    if isinstance(value, float):
        return kind == "number" or (kind == "integer" and value.is_integer())
    if isinstance(value, str):
        return kind == "string"
    return kind == ("array" if isinstance(value, list) else "object")
