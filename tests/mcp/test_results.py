"""What a model reads of a result: each thing once, and what it cannot see by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    TextContent,
)

from ling_agent.mcp.results import error_text, result_value

from .support import bench, text


def result(*texts: str, data: Any = None) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(text=item) for item in texts], structured_content=data
    )


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (result(), None),
        (result("a", "b"), "a\nb"),
        (result(data={"x": 1}), {"x": 1}),
        (result('{"x": 1}', data={"x": 1}), {"x": 1}),
        (result('{\n  "x": 1\n}', data={"x": 1}), {"x": 1}),
        (result("3", data={"result": 3}), 3),
        (result("three", data={"result": "three"}), "three"),
        (result("a", "b", data={"result": ["a", "b"]}), ["a", "b"]),
        (result('{"x":1}', '{"x":2}', data={"result": [{"x": 1}, {"x": 2}]}), [{"x": 1}, {"x": 2}]),
        (result("[]", data={"result": []}), []),
        (result("Two.", data={"offers": [1, 2]}), 'Two.\n{"offers":[1,2]}'),
        (result("Two.", data={"result": [1, 2]}), 'Two.\n{"result":[1,2]}'),
    ],
)
def test_data_and_text_that_say_the_same_are_told_once(given: CallToolResult, value: Any) -> None:
    assert result_value(given) == value


def test_what_is_no_text_is_named() -> None:
    blob = BlobResourceContents(
        uri="file:///a.bin", mime_type="application/zip", blob="AAAA" * 9000
    )
    given = CallToolResult(
        content=[
            AudioContent(data="AAAA", mime_type="audio/wav"),
            EmbeddedResource(resource=blob),
        ]
    )
    assert result_value(given) == (
        "[audio, audio/wav, 3 bytes: not shown]\n"
        "[resource file:///a.bin, application/zip, 27 kB: not shown]"
    )


def test_an_error_without_text_has_its_data() -> None:
    assert error_text(result(data={"code": 7})) == '{"code":7}'
    assert error_text(result()) == "the tool failed without saying why"


@pytest.mark.anyio
async def test_results_of_a_server(tmp_path: Path) -> None:
    async with bench(tmp_path).opened() as tools:
        assert await text(tools, "add", a=1, b=2) == "3"
        assert await text(tools, "weather", city="Oslo") == '{"city":"Oslo","degrees":21.5}'
        assert await text(tools, "both") == 'Two offers.\n{"offers":[1,2]}'
        assert await text(tools, "silence") == "done (no result)"
        assert await text(tools, "album") == (
            "Here it is.\n"
            "[image, image/png, 5 bytes: not shown]\n"
            "[link to resource https://example.org/page, text/html: not fetched]\n"
            "[resource file:///notes.txt]\n"
            "Notes."
        )


@pytest.mark.anyio
async def test_a_long_result_is_cut(tmp_path: Path) -> None:
    async with bench(tmp_path, max_result_tokens=50).opened() as tools:
        shown = await text(tools, "echo", ctx="word " * 500, self="")
    assert len(shown) < 400
    assert "tokens shown]" in shown
