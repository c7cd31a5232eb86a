"""Servers as they are published: `mcp-server-time`."""

from __future__ import annotations

import json
import sys

import pytest

from ling_agent.mcp import MCPServer
from ling_agent.tools import Toolset

from .support import call, text

pytestmark = pytest.mark.anyio


async def test_the_time_server() -> None:
    server = MCPServer.stdio(sys.executable, "-m", "mcp_server_time", prefix="time")
    async with server, server.opened() as tools:
        assert sorted(tool.name for tool in tools) == [
            "time_convert_time",
            "time_get_current_time",
        ]
        assert Toolset(tools)["time_convert_time"].description
        arguments = {
            "source_timezone": "Asia/Tokyo",
            "time": "09:30",
            "target_timezone": "Asia/Kolkata",
        }
        answer = json.loads(await text(tools, "time_convert_time", **arguments))
        assert answer["target"]["datetime"].endswith("06:00:00+05:30")
        assert answer["time_difference"] == "-3.5h"
        outcome = await call(tools, "time_get_current_time", timezone="Mars/Olympus")
        assert outcome.is_error
        assert "Mars/Olympus" in outcome.text
