"""Random models and random tools: every call that is completed can be read and is valid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from ling_agent import Sampling
from ling_agent.backends import NamedTool
from ling_agent.backends.embedded.grammar import CallGrammars
from ling_agent.hermes import ParsedMessage, parse

from .driving import (
    Strategy,
    drive,
    feed,
    guide_of,
    random_logits,
)
from .vocabularies import PLAIN_TAGS, SPECIAL_TAGS, load

pytestmark = pytest.mark.model


# -- random models, random tools ------------------------------------------------------------------

_NAMES = st.sampled_from(["a", "gpu", "n\n", 'q"', "é", "", "name", "arguments", "日", "x1", " "])
_WHOLE = st.integers(-1000, 1000)
_NUMBERS = _WHOLE | st.floats(-1000, 1000).map(lambda value: round(value, 3))


def _number_schemas(kind: str) -> Strategy:
    keywords: dict[str, Strategy] = {
        "minimum": st.integers(-50, 0),
        "maximum": st.integers(1, 50),
        "exclusiveMinimum": st.integers(-60, -1),
        "exclusiveMaximum": st.integers(2, 60),
        "multipleOf": st.sampled_from([1, 2, 5, 0.5]),
    }
    return st.fixed_dictionaries({"type": st.just(kind)}, optional=keywords)


def _between(kind: str, least: str, most: str, **more: Strategy) -> Strategy:
    bound = st.integers(0, 4)
    pairs = st.tuples(bound, bound, st.integers(0, 3), st.fixed_dictionaries(more))

    def build(parts: tuple[int, int, int, dict[str, Any]]) -> dict[str, Any]:
        one, other, which, rest = parts
        schema: dict[str, Any] = {"type": kind, **rest}
        if which & 1:
            schema[least] = min(one, other)
        if which & 2:
            schema[most] = max(one, other)
        return schema

    return pairs.map(build)


_OTHERS: list[Any] = [
    {},
    {"type": "boolean"},
    {"type": "null"},
    {"type": ["integer", "string"], "minimum": 4, "minLength": 2},
    {"minimum": 3},
    {"type": "string", "pattern": "^[a-c]+$"},
    {"type": "string", "pattern": "b"},
    {"type": "string", "pattern": "[^x]$", "maxLength": 6},
    {"type": "string", "format": "date"},
    {"type": "string", "format": "unknown"},
    {"type": "array", "uniqueItems": True},
    {"not": {"type": "string"}},
    {"$ref": "#/$defs/shared"},
]
_LEAVES = st.one_of(
    _number_schemas("integer"),
    _number_schemas("number"),
    _between("string", "minLength", "maxLength"),
    st.sampled_from(_OTHERS),
    st.lists(st.none() | st.booleans() | _NUMBERS | _NAMES, min_size=1, max_size=4).map(
        lambda values: {"enum": values}
    ),
    st.lists(_NUMBERS | _NAMES, max_size=2).map(lambda value: {"const": value}),
)


def _objects(inner: Strategy) -> Strategy:
    def build(parts: tuple[dict[str, Any], set[str] | None, dict[str, Any]]) -> dict[str, Any]:
        properties, required, more = parts
        names = [name for name in properties if required is None or name in required]
        return {"type": "object", "properties": properties, "required": names, **more}

    more = st.sampled_from(
        [{}, {}, {"additionalProperties": True}, {"minProperties": 1}, {"maxProperties": 2}]
    ) | inner.map(lambda schema: {"additionalProperties": schema})
    required = st.none() | st.sets(_NAMES, max_size=3)
    properties = st.dictionaries(_NAMES, inner, max_size=4)
    return st.tuples(properties, required, more).map(build)


def _nested(inner: Strategy) -> Strategy:
    return st.one_of(
        _objects(inner),
        _between("array", "minItems", "maxItems", items=inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
        st.lists(inner, min_size=1, max_size=2).map(lambda options: {"oneOf": options}),
        st.lists(_objects(inner), min_size=2, max_size=2).map(lambda parts: {"allOf": parts}),
    )


def _with_definition(parts: tuple[dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
    schema, shared = parts
    return {**schema, "$defs": {"shared": shared}}


PARAMETERS: Strategy = st.tuples(
    _objects(st.recursive(_LEAVES, _nested, max_leaves=8)),
    _LEAVES.filter(lambda schema: "$ref" not in schema),
).map(_with_definition)
BEGINNINGS = {
    "tagged": "Well.\n<tool_call>",
    "untagged": '{"name":',
    "fenced": '```json\n{"name":',
    "pretty": '{\n  "name":',
}


@pytest.mark.parametrize("alias", [SPECIAL_TAGS, PLAIN_TAGS])
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    schemas=st.lists(PARAMETERS, min_size=1, max_size=2),
    seed=st.integers(0, 1 << 20),
    form=st.sampled_from(["required", "named", *BEGINNINGS]),
)
def test_whatever_a_model_says_every_call_can_be_read_and_is_valid(
    alias: str, schemas: list[dict[str, Any]], seed: int, form: str
) -> None:
    loaded = load(alias)
    tools = [
        {"type": "function", "function": {"name": f"tool_{number}", "parameters": schema}}
        for number, schema in enumerate(schemas)
    ]
    grammars = CallGrammars(tools, loaded.tokenizer)
    choice = {"required": "required", "named": NamedTool("tool_0")}.get(form, "auto")
    guide = guide_of(loaded, grammars, choice=choice, bare_json=True)
    beginning = BEGINNINGS.get(form, "")
    feed(loaded, guide, beginning)
    assert guide.inside
    answer = drive(
        loaded,
        guide,
        random_logits(loaded, seed),
        sampling=Sampling(temperature=1.0, seed=seed),
        limit=150,
    )
    text = beginning + answer.text
    note(text)
    assert guide.failed == ""
    if not answer.ended:
        return
    message = parse(text, tools=tools, bare_json=True)
    assert not message.errors
    assert len(message.calls) == 1 or form == "required"
    _check(message, schemas, grammars.notes)


def _check(message: ParsedMessage, schemas: Sequence[dict[str, Any]], notes: Sequence[str]) -> None:
    assert message.calls
    for call in message.calls:
        number = ["tool_0", "tool_1"].index(call.name)
        if not any(f"of {call.name} " in line for line in notes):
            jsonschema.validate(call.arguments, schemas[number])
