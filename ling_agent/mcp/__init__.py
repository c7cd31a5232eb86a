"""The Model Context Protocol: servers' tools for an agent, and an agent as a server.

The first half is here; the second is `ling_agent.mcp.offering`. Both need the extra ``mcp``.
"""

from .offers import MCPTool, may_destroy
from .server import MCPServer
from .toolmaking import MCPProgress

__all__ = ["MCPProgress", "MCPServer", "MCPTool", "may_destroy"]
