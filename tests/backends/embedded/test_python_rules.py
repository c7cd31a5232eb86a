"""Calls as Python: the grammar takes what is written and fits, and nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, cast

import jsonschema
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from ling_agent import Sampling
from ling_agent.backends.base import DRAFTS, DraftForm
from ling_agent.backends.embedded.grammar import CallGrammars
from ling_agent.hermes.python_calls import keywords, read_calls, write_call

from .driving import Strategy, drive, guide_of, random_logits
from .test_grammar import takes, tool
from .test_guide_fuzz import PARAMETERS
from .vocabularies import PLAIN_TAGS, SPECIAL_TAGS, Loaded, load

pytestmark = pytest.mark.model

END = DRAFTS["python"].end


@pytest.fixture(scope="module", params=[SPECIAL_TAGS, PLAIN_TAGS])
def loaded(request: pytest.FixtureRequest) -> Loaded:
    return load(str(request.param))


def drafted(
    loaded: Loaded,
    text: str,
    parameters: Mapping[str, Any] | None,
    *,
    name: str = "t",
    form: DraftForm = "python",
) -> bool:
    """Whether the grammar of one tool takes the whole draft."""
    grammars = CallGrammars([tool(name, parameters)], loaded.tokenizer)
    return takes(loaded, grammars.drafted_calls(form), text, special=False)


def objects(properties: Mapping[str, Any], *required: str, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), **more}


TRIP = objects(
    {
        "seats": {"type": "integer"},
        "to": {"type": "string"},
        "return_trip": {"type": "boolean"},
        "price": {"type": "number"},
        "class": {"type": "string", "enum": ["first", "second"]},
    },
    "to",
)
# `class` cannot be a keyword: with another name, all can.
BOOK: dict[str, Any] = {
    **TRIP,
    "properties": {
        name.replace("class", "kind"): value for name, value in TRIP["properties"].items()
    },
}
WHOLE: dict[str, Any] = {
    "seats": 2,
    "to": "Graz",
    "return_trip": True,
    "price": 12.5,
    "kind": "second",
}


def test_what_has_a_default_is_left_out_in_any_combination(loaded: Loaded) -> None:
    grammars = CallGrammars([tool("book", BOOK)], loaded.tokenizer)
    for count in range(len(WHOLE) + 1):
        for names in itertools.combinations(WHOLE, count):
            text = write_call("book", {name: WHOLE[name] for name in names}) + END
            fits = takes(loaded, grammars.drafted_calls("python"), text)
            assert fits is ("to" in names), text


def test_arguments_come_in_the_order_of_their_declaration(loaded: Loaded) -> None:
    for names in itertools.permutations(["seats", "to", "kind"]):
        text = write_call("t", {name: WHOLE[name] for name in names}) + END
        assert drafted(loaded, text, BOOK) is (list(names) == ["seats", "to", "kind"]), text


@pytest.mark.parametrize(
    "call",
    [
        'other(to="Graz")',
        "t()",
        "t(seats=2)",
        "t(to=3)",
        't(to="Graz", return_trip="yes")',
        't(to="Graz", return_trip=true)',
        't(to="Graz", kind="third")',
        't(to="Graz", to="Linz")',
        't(to="Graz", colour="red")',
        't("Graz")',
        "t(to='Graz')",
        't(**{"to": "Graz"})',
        't( to="Graz")',
        't(to="Graz",kind="first")',
        't(to="Graz", )',
        't(to="Graz"',
        ' t(to="Graz")',
        '# a trip\nt(to="Graz")',
        't(to="Graz")\n',
        't(to="Graz"); t(to="Linz")',
    ],
)
def test_a_call_that_would_be_refused_is_none_of_the_grammar(loaded: Loaded, call: str) -> None:
    assert not drafted(loaded, f"{call}{END}", BOOK)


def test_a_program_is_calls_one_to_a_line_and_ends(loaded: Loaded) -> None:
    one, other = 't(to="Graz")', 't(to="Linz", kind="first")'
    for text in (one, f"{one}\n{other}", f"{other}\n{one}\n{one}"):
        assert drafted(loaded, f"{text}{END}", BOOK), text
        assert not drafted(loaded, text, BOOK), "it is not ended"
    for text in (f"{one}\n\n{other}", f"{one} {other}", f"{one}, {other}", f"{one}\r\n{other}", ""):
        assert not drafted(loaded, f"{text}{END}", BOOK), text
    for behind in ("\n", " ", "\nDone.", f"\n{one}"):
        assert not drafted(loaded, f"{one}{END}{behind}", BOOK), behind


def test_a_comment_stands_before_each_call(loaded: Loaded) -> None:
    one, other = '# the trip (to "Graz")\nt(to="Graz")', '# naïve: t(to=3) 🙂\nt(to="Linz")'
    longest = f'# {"x" * 100}\nt(to="Graz")'
    for text in (one, f"{one}\n{other}", longest):
        assert drafted(loaded, f"{text}{END}", BOOK, form="commented"), text
    wrong = [
        't(to="Graz")',
        f'{one}\nt(to="Linz")',
        '# \nt(to="Graz")',
        '#trip\nt(to="Graz")',
        '# one\n# two\nt(to="Graz")',
        f"{one}\n# done",
        longest.replace("x", "xx", 1),
    ]
    for text in wrong:
        assert not drafted(loaded, f"{text}{END}", BOOK, form="commented"), text


VALUES: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "boolean": ({"type": "boolean"}, ["True", "False"], ["true", "None", "1", '"True"', "Trueish"]),
    "one of them": ({"type": "boolean", "enum": [True]}, ["True"], ["False", "None"]),
    "or nothing": ({"type": ["boolean", "null"]}, ["True", "False", "None"], ["1"]),
    "optional": ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, ["3", "None"], ["True"]),
    "enum": ({"enum": ["a", None, False]}, ['"a"', "None", "False"], ["True", '"b"']),
    "const": ({"const": None}, ["None"], ["True", "0"]),
    "part of all": ({"type": "null", "allOf": [{}]}, ["null"], ["True"]),
    "text": ({"type": "string"}, ['"a\\nb"', '"é🙂"', '"\\"#)"'], ["a", "None", "True", '"a\nb"']),
    "list": ({"type": "array", "items": {"type": "boolean"}}, ["[true, false]"], ["[True]", "(1)"]),
    "object": (objects({"in-city": {"type": "integer"}}), ['{"in-city": 1}'], ['{"x": 1}']),
    "pattern": ({"type": "string", "pattern": "^b+$"}, ['"bb"'], ['"ab"']),
}


@pytest.mark.parametrize("kind", VALUES)
def test_values_are_json_but_for_what_python_names_otherwise(loaded: Loaded, kind: str) -> None:
    value, good, bad = VALUES[kind]
    for text in good:
        assert drafted(loaded, f"t(a={text}){END}", objects({"a": value}, "a")), text
    for text in bad:
        assert not drafted(loaded, f"t(a={text}){END}", objects({"a": value}, "a")), text


def test_a_tool_without_arguments_is_given_none(loaded: Loaded) -> None:
    for parameters in (None, objects({}), {"type": "object", "additionalProperties": False}):
        assert drafted(loaded, f"t(){END}", parameters)
        for wrong in ("t(a=1)", "t(**{})", "t( )", "t"):
            assert not drafted(loaded, f"{wrong}{END}", parameters), wrong


NUMBER: Mapping[str, Any] = {"type": "integer"}
NO_KEYWORDS: dict[str, dict[str, Any]] = {
    "a hyphen": objects({"a-b": NUMBER}),
    "a word of Python": objects({"class": NUMBER}),
    "no name": objects({"": NUMBER}),
    "open": objects({"a": NUMBER}, additionalProperties=True),
    "any": {"type": "object"},
    "some": objects({"a": NUMBER}, minProperties=1),
    "an own reference": objects({"a": NUMBER, "b": {"$ref": "#/properties/a"}}),
    "itself": objects({"a": {"anyOf": [NUMBER, {"$ref": "#"}]}}),
    "cannot be held": objects({"a": {"type": "array", "uniqueItems": True}}, "a"),
}


@pytest.mark.parametrize("why", NO_KEYWORDS)
def test_arguments_that_cannot_be_keywords_are_one_mapping(loaded: Loaded, why: str) -> None:
    parameters = NO_KEYWORDS[why]
    key = next(iter(parameters.get("properties", {"a": NUMBER})))
    text = f't(**{{"{key}": 1}}){END}'
    assert drafted(loaded, text, parameters)
    assert list(read_calls(text, {"t"})) == [{"name": "t", "arguments": {key: 1}}]
    assert drafted(loaded, f"t(){END}", parameters) is (why != "some")
    for wrong in (f"t({key}=1)", "t(**1)", "t(**[])", "t(**)", 't({"a": 1})', "t(**{}, **{})"):
        assert not drafted(loaded, f"{wrong}{END}", parameters), wrong


def test_a_mapping_has_what_is_required_and_fits(loaded: Loaded) -> None:
    parameters = objects({"a-b": NUMBER, "c": {"type": "string"}}, "a-b")
    for good in ({"a-b": 1}, {"a-b": 1, "c": "x"}):
        assert drafted(loaded, f"{write_call('t', good)}{END}", parameters)
    wrong: list[dict[str, Any]] = [{}, {"a-b": "1"}, {"a-b": 1, "c": 2}, {"a-b": 1, "d-e": 1}]
    for arguments in wrong:
        assert not drafted(loaded, f"{write_call('t', arguments)}{END}", parameters), arguments


@pytest.mark.parametrize(
    "name", ["get-weather", "x_1", "9lives", "a.b", "naïve", 'say"hi"', "a\\b"]
)
def test_names_are_written_as_they_are(loaded: Loaded, name: str) -> None:
    text = f'{name}(to="Graz"){END}'
    assert drafted(loaded, text, BOOK, name=name)
    assert not drafted(loaded, text, BOOK, name=f"{name}s")
    assert [call["name"] for call in read_calls(text, {name})] == [name]


def test_shared_definitions_are_followed(loaded: Loaded) -> None:
    node = objects({"next": {"$ref": "#/$defs/node"}})
    parameters = objects({"a": {"$ref": "#/$defs/node"}}, "a", **{"$defs": {"node": node}})
    assert drafted(loaded, f't(a={{"next": {{"next": {{}}}}}}){END}', parameters)
    assert not drafted(loaded, f't(a={{"next": 1}}){END}', parameters)


IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "a contradiction": {"allOf": [{"type": "string"}, NUMBER]},
    "bounds": {"type": "integer", "minimum": 2, "maximum": 1},
    "within": objects({"x": {"allOf": [{"type": "string"}, NUMBER]}}, "x"),
    "a reference": {"allOf": [{"$ref": "#/$defs/text"}, NUMBER]},
}


@pytest.mark.parametrize("why", IMPOSSIBLE)
def test_an_optional_argument_that_no_value_fits_is_never_given(loaded: Loaded, why: str) -> None:
    declared = {"a": IMPOSSIBLE[why], "b": NUMBER}
    parameters = objects(declared, **{"$defs": {"text": {"type": "string"}}})
    grammars = CallGrammars([tool("t", parameters), tool("book", BOOK)], loaded.tokenizer)
    assert grammars.notes == ()
    for form in ("python", "commented"):
        matcher = grammars.drafted_calls(form)
        assert not matcher.is_error(), matcher.get_error()
        comment = "# what for\n" if form == "commented" else ""
        for line in ("t()", "t(b=1)", write_call("book", WHOLE)):
            assert takes(loaded, grammars.drafted_calls(form), f"{comment}{line}{END}"), line
        for line in ("t(a=1)", 't(a="x")', "t(a={})", "t(a=", "t(b=1, a=1)"):
            assert not takes(loaded, grammars.drafted_calls(form), f"{comment}{line}{END}"), line


def test_a_tool_does_not_hinder_another(loaded: Loaded) -> None:
    tools = [tool(f"t{number}", schema) for number, schema in enumerate(NO_KEYWORDS.values())]
    grammars = CallGrammars([*tools, tool("book", BOOK)], loaded.tokenizer)
    lines = [f't{number}(**{{"a": 1}})' for number, why in enumerate(NO_KEYWORDS) if why == "any"]
    text = "\n".join([*lines, write_call("book", WHOLE)]) + END
    assert takes(loaded, grammars.drafted_calls("python"), text)


# -- random tools, random arguments ---------------------------------------------------------------

_NAMES = st.sampled_from(["a", "gpu", "naïve", "日", "x1", "_", "None_", "to"])
# SmolLM2 has no token for the first byte of what comes behind these.
_TEXTS = st.text(st.characters(max_codepoint=0x3FFFF, exclude_categories=["Cc", "Cs"]), max_size=8)
_WHOLE = st.integers(-1000, 1000)


def _in_an_object(text: str) -> dict[str, Any]:
    return {"x": text, "y z": None}


_PAIRS: list[tuple[dict[str, Any], Strategy]] = [
    ({"type": "string"}, _TEXTS),
    ({"type": "integer"}, _WHOLE),
    ({"type": "number"}, _WHOLE | st.sampled_from([0.5, -2.25, 1e3])),
    ({"type": "boolean"}, st.booleans()),
    ({"type": "null"}, st.none()),
    ({"type": ["boolean", "null"]}, st.booleans() | st.none()),
    ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, _WHOLE | st.none()),
    ({"enum": ["a", 1, True, None]}, st.sampled_from(["a", 1, True, None])),
    ({"type": "array", "items": {"type": "boolean"}}, st.lists(st.booleans(), max_size=3)),
    (
        objects({"x": {"type": "string"}, "y z": {"type": "null"}}, "y z"),
        _TEXTS.map(_in_an_object),
    ),
]
_ARGUMENTS: Strategy = st.dictionaries(
    _NAMES, st.tuples(st.sampled_from(_PAIRS), st.booleans()), max_size=5
)


@st.composite
def tools_and_arguments(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    declared = draw(_ARGUMENTS)
    arguments: dict[str, Any] = {
        name: draw(values)
        for name, ((_, values), required) in declared.items()
        if required or draw(st.booleans())
    }
    required = [name for name, (_, must) in declared.items() if must]
    schema = objects({name: pair[0] for name, (pair, _) in declared.items()}, *required)
    return schema, arguments


@pytest.mark.parametrize("alias", [SPECIAL_TAGS, PLAIN_TAGS])
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(made=tools_and_arguments())
def test_a_call_that_fits_is_taken_as_it_is_written(
    alias: str, made: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    schema, arguments = made
    text = write_call("t", arguments)
    note(text)
    assert keywords(schema) is not None
    assert drafted(load(alias), f"{text}{END}", schema)
    comment = "# what it is for"
    assert drafted(load(alias), f"{comment}\n{text}{END}", schema, form="commented")
    for name in schema["required"]:
        less = {key: value for key, value in arguments.items() if key != name}
        assert not drafted(load(alias), f"{write_call('t', less)}{END}", schema)


@pytest.mark.parametrize("alias", [SPECIAL_TAGS, PLAIN_TAGS])
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    schemas=st.lists(PARAMETERS, min_size=1, max_size=2),
    seed=st.integers(0, 1 << 20),
    form=st.sampled_from(["python", "commented"]),
)
def test_whatever_a_model_says_every_line_can_be_read_and_is_valid(
    alias: str, schemas: Sequence[dict[str, Any]], seed: int, form: str
) -> None:
    loaded, form = load(alias), cast("DraftForm", form)
    tools = [tool(f"tool_{number}", schema) for number, schema in enumerate(schemas)]
    grammars = CallGrammars(tools, loaded.tokenizer)
    guide = guide_of(loaded, grammars, choice=form)
    guide.begin(DRAFTS[form].prefill)
    sampling = Sampling(temperature=1.0, seed=seed)
    answer = drive(loaded, guide, random_logits(loaded, seed), sampling=sampling, limit=150)
    note(answer.text)
    assert guide.failed == ""
    names = [function["function"]["name"] for function in tools]
    calls = list(read_calls(answer.text, names))
    if answer.ended:
        lines = answer.text.removesuffix(END).split("\n")
        assert len(calls) == len(lines) // (1 if form == "python" else 2)
    for call in calls:
        # Without what is required where the schema cannot be held to.
        if not any(f"of {call['name']} " in line for line in grammars.notes):
            jsonschema.validate(call["arguments"], schemas[names.index(call["name"])])
