"""From the result of an MCP call to what the model reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from ..tools.rendering import compact

if TYPE_CHECKING:
    import mcp_types

_SILENT = "the tool failed without saying why"


def result_value(result: mcp_types.CallToolResult) -> object:
    """The value of a call: JSON where the server gives data, else its text.

    Data and a text that says the same, as the protocol recommends, are told once. What is not text
    is named with its type and size and said not to be shown.
    """
    text = _joined(result)
    data: Any = result.structured_content
    if data is None:
        return text or None
    if not text:
        return _unwrapped(data)
    if _says_the_same(text, data):
        return _unwrapped(data)
    return f"{text}\n{compact(data)}"


def error_text(result: mcp_types.CallToolResult) -> str:
    """The server's words about a call that failed."""
    text = _joined(result)
    if not text and result.structured_content is not None:
        text = compact(result.structured_content)
    return text or _SILENT


def _joined(result: mcp_types.CallToolResult) -> str:
    return "\n".join(_block(block) for block in result.content).strip()


def _block(block: mcp_types.ContentBlock) -> str:
    if block.type == "text":
        return block.text
    if block.type == "image" or block.type == "audio":
        return f"[{block.type}, {block.mime_type}, {_size(block.data)}: not shown]"
    if block.type == "resource_link":
        kind = f", {block.mime_type}" if block.mime_type else ""
        return f"[link to resource {block.uri}{kind}: not fetched]"
    inner = block.resource
    text: str | None = getattr(inner, "text", None)
    if text is not None:
        return f"[resource {inner.uri}]\n{text}"
    kind = f", {inner.mime_type}" if inner.mime_type else ""
    return f"[resource {inner.uri}{kind}, {_size(getattr(inner, 'blob', ''))}: not shown]"


def _size(base64_text: str) -> str:
    size = len(base64_text.rstrip("=")) * 3 // 4
    return f"{size:,} bytes" if size < 10_000 else f"{size / 1000:,.0f} kB"


def _says_the_same(text: str, data: Any) -> bool:
    for known in (data, _unwrapped(data)):
        if isinstance(known, str) and known.strip() == text:
            return True
        try:
            if json.loads(text) == known:
                return True
        except ValueError:
            # A list is written as one block for each item.
            if isinstance(known, list) and _lines(cast("list[Any]", known)) == text:
                return True
    return False


def _lines(items: list[Any]) -> str:
    return "\n".join(item if isinstance(item, str) else compact(item) for item in items)


def _unwrapped(data: Any) -> Any:
    """The value itself, of ``{"result": value}``, which servers make of what is no object."""
    if isinstance(data, dict):
        items = cast("dict[str, Any]", data)
        if items.keys() == {"result"}:
            return items["result"]
        return items
    return data
