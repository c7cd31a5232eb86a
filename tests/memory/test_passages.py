"""The part of a text that is shown of a hit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ling_agent.memory.passages import passage

FILLER = "Nothing to see here. " * 60
CAPITAL = "北京是首都。" * 90


@pytest.mark.parametrize(
    ("text", "query", "there"),
    [
        (FILLER + "The walrus costs 500." + FILLER, "walrus cost", "The walrus costs 500."),
        ("costs " * 300 + "the walrus costs 500", "costs of a walrus", "the walrus costs 500"),
        (f"{CAPITAL}上海有一个秘密花园。{CAPITAL}", "秘密花园", "秘密花园"),
        ("foo " * 300 + "Café Zoë" + " bar" * 300, "cafe zoe", "Café Zoë"),
        (FILLER + "the end", "zebra", "Nothing to see here."),
        ("漢" + FILLER + "字", "字", "字"),
    ],
)
def test_it_holds_what_is_asked_for(text: str, query: str, there: str) -> None:
    begin, shown = passage(text, query, 200)
    assert there in shown
    assert text[begin:].startswith(shown)
    assert 100 < len(shown.encode()) <= 200


def test_what_fits_is_whole() -> None:
    assert passage("The walrus.", "walrus", 11) == (0, "The walrus.")


@given(
    st.text(st.sampled_from("ab é漢字🎉.\n"), max_size=300),
    st.text(st.sampled_from("ab é漢"), max_size=9),
    st.integers(4, 120),
)
def test_whatever_the_text(text: str, query: str, room: int) -> None:
    begin, shown = passage(text, query, room)
    assert text[begin:].startswith(shown)
    assert len(shown.encode()) <= room
