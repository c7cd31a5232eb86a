"""Calls that a server has read come out as the text that the model wrote, however they came."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ling_agent.backends.remote.call_text import CallText
from ling_agent.hermes import parse, render_call

Call = tuple[str, dict[str, Any]]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["</tool_call>", "<tool_call>", "}\n</tool_call>", '"', "\\", "{", "\n"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
arguments = st.dictionaries(st.text(max_size=6), values, min_size=1, max_size=3)
names = st.sampled_from(["add", "search_offers", "größe", "a.b-c"])
calls_made: st.SearchStrategy[list[Call]] = st.lists(
    st.tuples(names, arguments), min_size=1, max_size=4
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=4) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


def delta(index: object, id_: object = None, name: object = None, arguments: object = "") -> object:
    function = {"arguments": arguments} | ({} if name is None else {"name": name})
    return {"index": index, "id": id_, "type": "function", "function": function}


def written(*deltas: Sequence[object], cut: bool = False, needed: bool = True) -> str:
    """The text of a message that comes in these deltas."""
    calls = CallText(lambda name: needed)
    return "".join(map(calls.take, deltas)) + calls.finish(cut=cut)


def read(text: str, finish_reason: str = "stop") -> list[Call]:
    """The calls that the parser sees."""
    message = parse(text, finish_reason=finish_reason)
    return [(call.name, call.arguments) for call in message.calls]


def split(data: st.DataObject, text: str) -> list[str]:
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=5).map(sorted))
    edges = [0, *cuts, len(text)]
    return [text[start:end] for start, end in itertools.pairwise(edges)]


def pieces(data: st.DataObject, number: int, call: Call) -> list[object]:
    """One call as servers stream it: the name first, then fragments without."""
    name, given_arguments = call
    text = json.dumps(given_arguments, ensure_ascii=data.draw(st.booleans()))
    first, *rest = split(data, text)
    return [delta(number, f"c{number}", name, first), *(delta(number, None, None, r) for r in rest)]


@given(calls_made)
def test_whole_calls_are_written_as_the_model_writes_them(made: list[Call]) -> None:
    deltas = [
        delta(i, f"c{i}", n, json.dumps(a, ensure_ascii=False)) for i, (n, a) in enumerate(made)
    ]
    expected = "\n".join(render_call(name, given_arguments) for name, given_arguments in made)
    assert written(deltas) == expected
    assert read(expected) == made


@given(calls_made, st.data())
def test_any_pieces_in_any_deltas_give_the_same_calls(
    made: list[Call], data: st.DataObject
) -> None:
    flat = [each for i, call in enumerate(made) for each in pieces(data, i, call)]
    groups: list[list[object]] = [[]]
    for each in flat:
        if data.draw(st.booleans()):
            groups.append([])
        groups[-1].append(each)
    assert read(written(*groups)) == made
    assert written(*groups) == written(flat)


@given(calls_made, st.data())
def test_interleaved_calls_come_in_the_order_in_which_they_began(
    made: list[Call], data: st.DataObject
) -> None:
    streams = [pieces(data, i, call) for i, call in enumerate(made)]
    began = [stream.pop(0) for stream in streams]
    rest: list[object] = []
    while any(streams):
        rest.append(data.draw(st.sampled_from([stream for stream in streams if stream])).pop(0))
    assert read(written(*([each] for each in (*began, *rest)))) == made


@given(calls_made, st.data())
def test_one_index_and_no_ids_are_enough_for_whole_calls(
    made: list[Call], data: st.DataObject
) -> None:
    index = data.draw(st.sampled_from([0, None]))
    deltas = [[delta(index, None, name, json.dumps(given))] for name, given in made]
    assert read(written(*deltas)) == made


@given(calls_made)
def test_arguments_may_be_an_object(made: list[Call]) -> None:
    assert read(written([delta(i, None, n, a) for i, (n, a) in enumerate(made)])) == made


@given(calls_made, st.data())
def test_a_cut_message_never_has_its_last_call(made: list[Call], data: st.DataObject) -> None:
    flat = [each for i, call in enumerate(made) for each in pieces(data, i, call)]
    text = written(*([each] for each in flat), cut=True)
    assert read(text, "length") == made[:-1]


@given(calls_made, st.integers(1))
def test_the_name_and_the_id_may_stand_in_each_piece(made: list[Call], size: int) -> None:
    deltas = [
        [delta(i, f"c{i}", name, text[start : start + size])]
        for i, (name, given_arguments) in enumerate(made)
        for text in [json.dumps(given_arguments)]
        for start in range(0, len(text), min(size, len(text)))
    ]
    assert read(written(*deltas)) == made


odd = json_values | st.builds(delta, json_values, json_values, json_values, json_values)
odder = st.fixed_dictionaries({}, optional={"index": json_values, "function": json_values})


@given(st.lists(st.lists(odd | odder)))
def test_whatever_a_server_sends_is_read_without_an_error(deltas: list[list[object]]) -> None:
    parse(written(*deltas))


def test_text_goes_out_as_soon_as_it_is_certain() -> None:
    calls = CallText(lambda name: True)
    assert calls.take([delta(0, "x", "add", "")]) == "", "the arguments may never come"
    assert calls.take([delta(0, None, None, '{"a"')]).endswith('"arguments": {"a"')
    assert calls.take([delta(0, None, None, ": 1}")]) == ": 1}"
    assert calls.take([delta(1, "y", "add", "")]) == "}\n</tool_call>", "the next one has begun"
    calls.finish(cut=False)
    assert calls.lost == ["add"]


def test_an_empty_last_piece_is_not_another_call() -> None:
    deltas = [[delta(0, "x", "add", '{"a": 1}')], [delta(0, "x", "add", "")], [delta(0, "x")]]
    message = parse(written(*deltas))
    assert [(call.name, call.arguments) for call in message.calls] == [("add", {"a": 1})]
    assert message.errors == []


@pytest.mark.parametrize("empty", ["", "{}", "{", " ", None, {}])
def test_a_single_call_without_its_arguments_is_lost(empty: object) -> None:
    calls = CallText(lambda name: name == "add")
    assert calls.take([delta(0, "x", "add", empty)]) + calls.finish(cut=False) == ""
    assert calls.lost == ["add"]


def test_beside_another_call_a_lost_one_is_written_so_that_no_parser_takes_it() -> None:
    calls = CallText(lambda name: True)
    text = calls.take([delta(0, "x", "add", '{"a": 1}'), delta(1, "y", "sub", "{}")])
    text += calls.finish(cut=False)
    message = parse(text)
    assert [call.name for call in message.calls] == ["add"]
    assert [error.name for error in message.errors] == ["sub"]


@pytest.mark.parametrize("empty", ["", "{}", None])
def test_a_tool_that_needs_no_arguments_is_called_without(empty: object) -> None:
    assert read(written([delta(0, "x", "now", empty)], needed=False)) == [("now", {})]


def test_an_opening_brace_alone_is_lost_also_where_none_are_needed() -> None:
    assert written([delta(0, "x", "now", "{")], needed=False) == ""


def test_text_between_calls_closes_the_one_before_it() -> None:
    calls = CallText(lambda name: True)
    text = calls.take([delta(0, "x", "add", '{"a": 1}')]) + calls.close()
    assert not calls.unfinished
    assert read(text) == [("add", {"a": 1})]
    calls = CallText(lambda name: True)
    assert calls.take([delta(0, "x", "add", '{"a": ')])
    assert calls.close() == ""
    assert calls.unfinished, "text here would be inside the call"
