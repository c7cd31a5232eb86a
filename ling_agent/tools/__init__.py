"""Tools: functions that a model may call, their schemas, their execution."""

from .context import RunContext
from .decorator import Tool, tool
from .execution import ToolOutcome, execute_call, execute_calls
from .toolset import Toolset

__all__ = [
    "RunContext",
    "Tool",
    "ToolOutcome",
    "Toolset",
    "execute_call",
    "execute_calls",
    "tool",
]
