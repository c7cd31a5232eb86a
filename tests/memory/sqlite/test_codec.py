"""Rows: lossless, smaller than the text, and damage is noticed."""

from __future__ import annotations

import dataclasses
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ling_agent import StoreError
from ling_agent.memory.sqlite import codec
from ling_agent.memory.sqlite.codec import from_row, to_row
from ling_agent.memory.sqlite.faults import DamageError
from tests.memory.entries import observation

LOREM = "The quick brown fox jumps over the lazy dog, and the dog sleeps on. "


@pytest.fixture(params=["zstd", "zlib"])
def compression(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "zlib":
        monkeypatch.setattr(codec, "_zstd", lambda: None)
    else:
        pytest.importorskip("zstandard")
    return str(request.param)


@pytest.mark.parametrize("times", [0, 1, 10, 500, 50_000])
def test_what_is_kept_comes_back(compression: str, times: int) -> None:
    entry = observation(LOREM * times)
    row = to_row(entry)
    assert from_row(row.id, row.step, row.codec, row.crc, row.body) == entry
    if times >= 10:
        assert len(row.body) < len(entry.text) / 3
    if times >= 500:
        assert row.codec == (codec.ZSTD if compression == "zstd" else codec.ZLIB)


@given(st.text(st.characters(), max_size=300), st.integers(1, 30))
def test_any_text_comes_back(text: str, times: int) -> None:
    entry = dataclasses.replace(observation(text * times), data={"more": text}, tokens=0, time=1.5)
    row = to_row(entry)
    assert from_row(row.id, row.step, row.codec, row.crc, row.body) == entry


def test_a_parent_that_is_not_the_entry_before_is_kept() -> None:
    entry = dataclasses.replace(observation("x", after=9), parent=3)
    row = to_row(entry)
    assert from_row(row.id, row.step, row.codec, row.crc, row.body).parent == 3


def test_each_flipped_bit_is_noticed() -> None:
    row = to_row(observation(LOREM))
    for place in range(len(row.body)):
        body = bytearray(row.body)
        body[place] ^= 4
        with pytest.raises(DamageError, match="checksum of entry 0 is wrong"):
            from_row(row.id, row.step, row.codec, row.crc, bytes(body))


def test_a_body_that_never_was_an_entry_is_damage() -> None:
    for body in (b"{", b"[]", b'{"kind":"none"}', b"\xff"):
        with pytest.raises(DamageError, match="cannot be read"):
            from_row(0, 0, codec.PLAIN, zlib.crc32(body), body)


def test_without_its_compression_an_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("zstandard")
    row = to_row(observation(LOREM * 500))
    monkeypatch.setattr(codec, "_zstd", lambda: None)
    with pytest.raises(StoreError, match=r"pip install 'ling-agent\[zstd\]'"):
        from_row(row.id, row.step, row.codec, row.crc, row.body)
    with pytest.raises(StoreError, match="no compression 99 here: upgrade"):
        from_row(0, 0, 99, zlib.crc32(b""), b"")
