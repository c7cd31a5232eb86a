"""Which tools are taken, under which names, and which of them need approval."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import mcp_types
import pytest

from ling_agent import ConfigurationError, Tool
from ling_agent.mcp import MCPServer, MCPTool, may_destroy
from ling_agent.mcp.connection import Connection
from ling_agent.mcp.hiding import Hider
from ling_agent.mcp.offers import ApprovalRule, Choice, Selection
from ling_agent.mcp.stdio import StdioEndpoint
from ling_agent.mcp.toolmaking import Options, make_tools, tool_name
from ling_agent.tools import Toolset

from .support import ROOT, bench, text


def listed(name: str, schema: dict[str, Any] | None = None, **hints: bool) -> mcp_types.Tool:
    """A tool in a listing."""
    annotations = mcp_types.ToolAnnotations.model_validate(hints)
    return mcp_types.Tool(
        name=name, input_schema=schema or {"type": "object"}, annotations=annotations
    )


LISTING = (listed("wipe", destructiveHint=True), listed("add", readOnlyHint=True), listed("say"))
EVERYTHING = Selection(None, None, False)


def made(
    listing: tuple[mcp_types.Tool, ...], selection: Selection = EVERYTHING
) -> tuple[list[Tool[..., Any]], list[str]]:
    """The tools of a listing, on a connection that is never opened."""
    endpoint = StdioEndpoint("x", Hider(), "x", (), {}, None)
    connection = Connection(endpoint, connect_timeout=1)
    return make_tools(listing, connection, Options("x", Hider(), "", selection, None, None))


@pytest.mark.anyio
async def test_names_have_the_prefix(tmp_path: Path) -> None:
    async with bench(tmp_path, prefix="bench", include=["add", "pid"]).opened() as tools:
        assert [tool.name for tool in tools] == ["bench_add", "bench_pid"]
        assert await text(tools, "bench_add", a=1, b=2) == "3"


def chosen(include: Choice | None = None, exclude: Choice | None = None) -> str:
    """Names of the tools that are taken, of three."""
    tools, _ = made(LISTING, Selection(include, exclude, False))
    return " ".join(tool.name for tool in tools)


def test_tools_are_chosen_by_name_or_by_a_function() -> None:
    assert chosen() == "add say wipe"
    assert chosen(include=["wipe", "add"]) == "add wipe"
    assert chosen(exclude={"add"}) == "say wipe"
    assert chosen(include=lambda tool: tool.read_only is True) == "add"
    assert chosen(["add", "wipe"], lambda tool: tool.destructive is True) == "add"


@pytest.mark.anyio
async def test_a_name_that_is_not_offered_is_noted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = bench(tmp_path, include=["add", "ad"], requires_approval=["wip"])
    async with server:
        for _ in range(2):
            async with server.opened():
                pass
    assert server.notes == (
        "include names 'ad', which the server does not offer",
        "requires_approval names 'wip', which the server does not offer",
    )
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warnings == [f"python tests.mcp.servers.bench: {note}" for note in server.notes]


def approved(rule: ApprovalRule, path: str = "x") -> str:
    """Names of the tools whose calls need approval."""
    tools, _ = made(LISTING, Selection(None, None, rule))
    return " ".join(tool.name for tool in tools if tool.needs_approval({"path": path}))


def test_approval() -> None:
    def wipes_all(tool: MCPTool, arguments: dict[str, Any]) -> bool:
        return tool.name == "wipe" and arguments["path"] == "/"

    assert approved(False) == ""
    assert approved(True) == "add say wipe"
    assert approved(["wipe"]) == "wipe"
    assert approved(may_destroy) == "say wipe"
    assert approved(wipes_all) == ""
    assert approved(wipes_all, "/") == "wipe"


def test_a_tool_that_says_nothing_may_destroy() -> None:
    assert may_destroy(MCPTool("x"), {})
    assert may_destroy(MCPTool("x", read_only=False), {})
    assert not may_destroy(MCPTool("x", read_only=True), {})
    assert not may_destroy(MCPTool("x", destructive=False), {})


@pytest.mark.parametrize("option", ["include", "exclude", "requires_approval"])
def test_a_single_text_is_not_a_list_of_names(option: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{option}='add': give a list of names, \['add'"):
        MCPServer.http("http://localhost/mcp", **{option: "add"})  # pyright: ignore[reportArgumentType]


def test_names_are_made_valid_and_unique() -> None:
    used: set[str] = set()
    names: list[str] = []
    for name in ("files/read.text", "files read text", "a" * 80, "a" * 81, "é", "…"):
        names.append(tool_name("my server", name, used))
        used.add(names[-1])
    assert names[:2] == ["my_server_files_read_text", "my_server_files_read_text_2"]
    assert all(len(name) <= 64 and name.isascii() for name in names)
    assert len(set(names)) == len(names)
    assert tool_name("", "read", set()) == "read"
    assert tool_name("git-", "read", set()) == "git-read"


def test_a_schema_that_cannot_be_used_costs_one_tool() -> None:
    good: dict[str, Any] = {
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/X"}},
        "$defs": {"X": {}},
    }
    remote: dict[str, Any] = {
        "type": "object",
        "properties": {"x": {"$ref": "https://example.org/x.json"}},
    }
    broken: dict[str, Any] = {"type": "object", "properties": {"x": {"type": "intger"}}}
    schemas: tuple[dict[str, Any], ...] = (good, remote, broken, {"type": "array"})
    tools, notes = made(tuple(listed(f"tool{i}", schema) for i, schema in enumerate(schemas)))
    assert [tool.name for tool in tools] == ["tool0"]
    assert tools[0].parameters == good
    assert [note.partition(":")[0] for note in notes] == ["left out"] * 3
    assert "tool 'tool1': the schema refers to 'https://example.org/x.json'" in notes[0]
    assert "not a valid JSON Schema" in notes[1]
    assert "must be a schema of type 'object'" in notes[2]


@pytest.mark.anyio
async def test_two_servers_may_be_told_apart_in_an_error(tmp_path: Path) -> None:
    async with bench(tmp_path).opened() as first, bench(tmp_path).opened() as second:
        with pytest.raises(ConfigurationError, match=r"MCP server 'python tests\.mcp"):
            Toolset([*first, *second])


def test_the_sdk_is_loaded_with_the_first_connection() -> None:
    """Nor is pydantic, which an application may not use, for options without secrets."""
    code = (
        "import sys\nfrom ling_agent import Agent\nfrom ling_agent.mcp import MCPServer\n"
        "import ling_agent.mcp.offering\n"
        "Agent(tools=[MCPServer.stdio('x', env={'A': 'b'}, prefix='p')])\n"
        "print({'mcp', 'mcp_types', 'starlette', 'uvicorn', 'pydantic'} & sys.modules.keys())"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert output == "set()\n"
