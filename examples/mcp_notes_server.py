"""A server of the Model Context Protocol that keeps notes, for `mcp_client.py`; speaks on stdio."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import MCPServer

NOTES = {
    "milk": "Buy two litres of milk.",
    "dentist": "Dentist on Tuesday at 9:30, Harbour Street 4.",
}

server: MCPServer[Any] = MCPServer("notes")


@server.tool()
def find_notes(word: str) -> list[str]:
    """Find notes that have a word in them, for example "dentist"."""
    return [text for text in NOTES.values() if word.lower() in text.lower()]


@server.tool()
def add_note(title: str, text: str) -> str:
    """Write a note down."""
    NOTES[title] = text
    return f"noted: {title}"


@server.tool()
def delete_notes() -> str:
    """Delete all notes."""
    NOTES.clear()
    return "deleted"


if __name__ == "__main__":
    server.run("stdio")
