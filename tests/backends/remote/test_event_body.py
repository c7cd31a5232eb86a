"""Blocks of events are read as `httpx2.EventSource` reads them, whatever pieces they come in."""

from __future__ import annotations

import httpx2
from hypothesis import given
from hypothesis import strategies as st

from ling_agent.backends.remote.event_body import EventBlocks

LINES = st.lists(
    st.sampled_from(
        ["data: a", "data: b", "data:c", "data", ": ping", "event: x", "id: 1", "data: é🎉", ""]
    ),
    max_size=12,
)


def response() -> httpx2.Response:
    request = httpx2.Request("POST", "http://x")
    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, request=request)


def as_event_source_reads(text: str) -> list[str]:
    whole = httpx2.Response(
        200,
        headers={"content-type": "text/event-stream"},
        content=text.encode(),
        request=httpx2.Request("POST", "http://x"),
    )
    return [event.data for event in httpx2.EventSource(whole)]


@given(LINES, st.sampled_from(["\n", "\r\n", "\r"]), st.lists(st.integers(1, 7), min_size=1))
def test_any_pieces_give_what_the_library_reads(
    lines: list[str], newline: str, sizes: list[int]
) -> None:
    text = newline.join(lines) + newline * 2
    blocks, read, start, number = EventBlocks(response()), list[str](), 0, 0
    while start < len(text):
        size = sizes[number % len(sizes)]
        read += blocks.take(text[start : start + size])
        start, number = start + size, number + 1
    assert read == as_event_source_reads(text)


def test_an_event_without_its_end_is_not_read() -> None:
    blocks = EventBlocks(response())
    assert blocks.take("data: a\n\ndata: b\n") == ["a"]
    assert blocks.take("\n") == ["b"]
    assert blocks.take("data: c") == []
