"""A server on stdio without any SDK: the handshake of 2025, a listing in two pages, odd results."""

from __future__ import annotations

import json
import sys
from typing import Any

ANYTHING: dict[str, Any] = {"type": "object"}
PAGES: dict[str | None, dict[str, Any]] = {
    None: {
        "tools": [
            {
                "name": "lie",
                "inputSchema": ANYTHING,
                "outputSchema": {"type": "object", "properties": {"city": {"type": "string"}}},
            },
            {"name": "garble", "inputSchema": ANYTHING},
        ],
        "nextCursor": "more",
    },
    "more": {
        "tools": [
            {"name": "files/read me", "title": "Read the file.", "inputSchema": ANYTHING},
            {"name": "remote", "inputSchema": {"$ref": "https://example.org/schema.json"}},
            {"name": "listed", "inputSchema": {"type": "array"}},
            {"name": "bare"},
            {"name": "loose", "inputSchema": {}, "outputSchema": {"properties": {}}},
        ]
    },
}
RESULTS: dict[str, dict[str, Any]] = {
    "lie": {"content": [], "structuredContent": {"city": 1}},
    "loose": {"content": [{"type": "text", "text": "Loose."}]},
    "garble": {"contents": "rain"},
    "files/read me": {"content": [{"type": "text", "text": "Read me."}]},
}


def answer(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """The result, or the error, of a request."""
    if method == "initialize":
        return {
            "result": {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "raw", "version": "1"},
            }
        }
    if method == "tools/list":
        return {"result": PAGES[params.get("cursor")]}
    if method == "tools/call" and params["name"] in RESULTS:
        return {"result": RESULTS[params["name"]]}
    return {"error": {"code": -32601, "message": f"no {method} here"}}


def main() -> None:
    """Answer each line."""
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message:
            reply = answer(message["method"], message.get("params", {}))
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **reply}), flush=True)


if __name__ == "__main__":
    main()
