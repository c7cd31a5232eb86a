"""Results as text: one form for each value, and honest cuts."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr, field_serializer

from ling_agent.tools.cutting import cut_text, estimate_tokens, render_within
from ling_agent.tools.rendering import RenderError, render, to_json_value


class Color(Enum):
    red = "red"


class Level(IntEnum):
    low = 1


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Offer:
    gpu: str
    price: Decimal
    tags: set[str]


class Model(BaseModel):
    name: str
    when: date
    tags: set[str]
    secret: SecretStr = SecretStr("hunter2")
    ratio: float = math.nan

    @field_serializer("name", when_used="json")
    def upper(self, name: str) -> str:
        return name.upper()


TEXTS: list[tuple[object, str]] = [
    ("as is\n", "as is\n"),
    ("", ""),
    (None, "done (no result)"),
    (True, "true"),
    (3, "3"),
    (0.1, "0.1"),
    (math.nan, "NaN"),
    ([math.inf, -math.inf, math.nan, None], '["Infinity","-Infinity","NaN",null]'),
    ({"b": 1, "a": [1, 2]}, '{"b":1,"a":[1,2]}'),
    ({"ø": "日本"}, '{"ø":"日本"}'),
    ({1: "a", None: "b", Color.red: "c"}, '{"1":"a","null":"b","red":"c"}'),
    ((1, "a"), '[1,"a"]'),
    ({3, 1, 20}, "[1,3,20]"),
    (frozenset({"b", "a"}), '["a","b"]'),
    ({(2, 1), (1, 2)}, "[[1,2],[2,1]]"),
    (deque([1]), "[1]"),
    (OrderedDict([("z", 1), ("a", 2)]), '{"z":1,"a":2}'),
    (Point(1, 2), '{"x":1,"y":2}'),
    (Color.red, "red"),
    (Level.low, "1"),
    ([Color.red, Level.low], '["red",1]'),
    (date(2024, 1, 2), "2024-01-02"),
    ([datetime(2024, 1, 2, 3, 4, tzinfo=UTC)], '["2024-01-02T03:04:00Z"]'),
    (timedelta(hours=1), "PT1H"),
    (Decimal("1.10"), "1.10"),
    (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (PurePosixPath("a/b"), "a/b"),
    (b"text", "text"),
    (b"\xff\x00", "/wA="),
    (Offer("x", Decimal(1), {"b", "a"}), '{"gpu":"x","price":"1","tags":["a","b"]}'),
    (
        Model(name="a", when=date(2024, 1, 2), tags={"c", "b", "a"}),
        '{"name":"A","when":"2024-01-02","tags":["a","b","c"],"secret":"**********","ratio":"NaN"}',
    ),
    ([{"m": Point(0, 0)}], '[{"m":{"x":0,"y":0}}]'),
]


@pytest.mark.parametrize(("value", "text"), TEXTS)
def test_the_text_of_a_value(value: object, text: str) -> None:
    assert render(value) == text


class Foo: ...


def cycle() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


class Failing(BaseModel):
    x: int = 1

    @field_serializer("x")
    def fail(self, x: int) -> int:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Foo(), "tool 't' returned a Foo, which has no text form: return str, a dict, a dataclass"),
        ([Foo()], "a Foo, which has no text form"),
        ({"a": Foo()}, "a Foo, which has no text form"),
        (Foo, "a type, which has no text form"),
        (len, "a builtin_function_or_method, which has no text form"),
        ((x for x in "ab"), "a generator, which has no text form"),
        (object(), "an object, which has no text form"),
        ({(1, 2): 3}, "a dict with a tuple as a key"),
        ({1: "a", "1": "b"}, "a dict with two keys that read '1'"),
        (cycle(), "nested too deeply or contains itself"),
        (Failing(), "a Failing whose serializer failed"),
    ],
)
def test_a_value_without_a_text_form_says_what_to_return(value: object, says: str) -> None:
    with pytest.raises(RenderError) as caught:
        render(value, tool="t")
    assert says in str(caught.value)
    assert str(caught.value).startswith("tool 't' returned")
    assert "\n" not in str(caught.value)


def test_lone_surrogates_do_not_reach_a_request() -> None:
    assert render("a\ud800b") == "a\ufffdb"
    render(["a\ud800b"]).encode()


def test_sets_do_not_depend_on_the_hash_seed() -> None:
    code = (
        "from ling_agent.tools.rendering import render\n"
        "print(render({'a', 'b', 'c', 'd', ('x', 1), None, 2.5}))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_rendering_is_deterministic_and_loses_nothing(value: Any) -> None:
    text = render(value)
    assert text == render(value)
    text.encode()
    if isinstance(value, list | dict):
        again: Any = json.loads(text)
        # Rendering what was rendered changes nothing more (NaN has become a string by then).
        assert render(again) == text


@given(st.sets(st.integers() | st.text(st.characters(codec="utf-8")) | st.floats(allow_nan=False)))
def test_a_set_is_rendered_by_its_members_alone(members: set[Any]) -> None:
    again: set[Any] = set()
    for member in sorted(members, key=repr):  # another order of insertion
        again.add(member)
    assert render(members) == render(again)


def words(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize("count", [words, None], ids=["counted", "estimated"])
def test_a_short_result_is_whole(count: Callable[[str], int] | None) -> None:
    assert render_within("one two", 5, count) == "one two"
    assert render_within("one two", None, count) == "one two"


def test_a_long_text_keeps_its_head_and_says_how_much() -> None:
    text = " ".join(f"w{n}" for n in range(5_321))
    cut = render_within(text, 1_000, words)
    head, note = cut.rsplit("\n", 1)
    assert text.startswith(head)
    assert note == f"[cut: {words(head):,} of 5,321 tokens shown]"
    assert 900 < words(cut) <= 1_000


def test_an_estimate_is_called_one() -> None:
    cut = cut_text("x" * 30_000, 1_000, None)
    shown = estimate_tokens(cut.split("\n")[0])
    assert cut.endswith(f"[cut: about {shown:,} of about 10,000 tokens shown]")
    assert 900 < estimate_tokens(cut) <= 1_000


def test_a_list_is_cut_between_items() -> None:
    items = [{"id": n, "name": f"offer {n}"} for n in range(240)]
    cut = render_within(to_json_value(items), 100, None)
    head, note = cut.rsplit("\n", 1)
    kept = json.loads(head)
    assert kept == items[: len(kept)]
    assert note == f"[cut: {len(kept)} of 240 items shown]"
    assert 5 < len(kept) < 240
    assert estimate_tokens(cut) <= 100


def test_a_list_whose_first_item_is_too_long_is_cut_as_text() -> None:
    cut = render_within(["x" * 3_000], 100, None)
    assert cut.startswith('["xxx')
    assert "tokens shown]" in cut


@given(st.text(max_size=400), st.integers(1, 120))
def test_a_cut_text_is_a_head_within_the_limit(text: str, limit: int) -> None:
    text = render(text)
    cut = render_within(text, limit, None)
    if cut != text:
        head = cut.rsplit("\n", 1)[0]
        assert text.startswith(head)
        assert estimate_tokens(cut) <= max(limit, estimate_tokens(cut[len(head) :]) + 2)
