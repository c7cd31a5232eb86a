"""Lists that are JSON already, and bodies that hold them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ling_agent.backends.remote.jsons import write_json
from ling_agent.backends.remote.written import WrittenList, read_body, write_body

items = st.one_of(st.integers(-9, 9), st.text(max_size=3), st.lists(st.booleans(), max_size=2))
pieces = st.lists(st.lists(items, max_size=3), max_size=4)


def written(pieces: list[list[Any]]) -> WrittenList:
    made = WrittenList()
    for piece in pieces:
        made = made.plus(piece)
    return made


@given(pieces)
def test_it_is_the_json_of_the_list(pieces: list[list[Any]]) -> None:
    plain = [item for piece in pieces for item in piece]
    made = written(pieces)
    assert b"".join(made.json()) == write_json(plain)
    assert made.size == len(write_json(plain))
    assert made.length == len(plain)
    assert made.read() == plain


@given(st.dictionaries(st.text(max_size=3), items | pieces.map(written), max_size=4))
def test_a_body_is_written_as_if_its_lists_were_plain(body: dict[str, Any]) -> None:
    assert write_body(body) == write_json(read_body(body))


def test_what_was_added_to_a_list_is_not_in_the_older_one() -> None:
    old = WrittenList().plus([1])
    assert old.plus([2]).read() == [1, 2]
    assert old.plus([3]).read() == [1, 3]
    assert old.read() == [1]


def test_other_bodies_are_written_as_they_are() -> None:
    assert write_body([1, "a"]) == b'[1,"a"]'
    assert write_body("a") == b'"a"'
