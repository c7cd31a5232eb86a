"""A server that was not made with the SDK, and does not keep to all of the protocol."""

from __future__ import annotations

import sys

import pytest

from ling_agent.mcp import MCPServer
from ling_agent.tools import Toolset

from .support import ROOT, text

pytestmark = pytest.mark.anyio

SERVER = MCPServer.stdio(sys.executable, "-m", "tests.mcp.servers.raw", cwd=ROOT)


async def test_all_pages_of_a_listing_are_read_and_names_made_valid() -> None:
    async with SERVER.opened() as tools:
        assert [tool.name for tool in tools] == ["files_read_me", "garble", "lie", "loose"]
        assert Toolset(tools)["files_read_me"].description == "Read the file."
        assert await text(tools, "files_read_me") == "Read me."
        assert await text(tools, "loose") == "Loose."
    assert SERVER.notes == (
        "left out: tool 'listed': its inputSchema is not of an object",
        "left out: tool 'bare': its description is not valid: inputSchema: Field required",
        "left out: tool 'remote': the schema refers to 'https://example.org/schema.json', which is "
        "not in it; put the definition under $defs",
    )


@pytest.mark.parametrize("name", ["lie", "garble"])
async def test_a_result_that_breaks_a_rule_is_not_used(name: str) -> None:
    async with SERVER.opened() as tools:
        answer = await text(tools, name)
        assert answer.startswith(
            "Error: the MCP server 'python tests.mcp.servers.raw' gave a result that cannot be "
            "used: "
        )
        assert "\n" not in answer
        assert await text(tools, "files_read_me") == "Read me."
