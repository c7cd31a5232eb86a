"""Tools: functions that a model may call, their schemas, their execution."""

from .context import RunContext
from .decorator import Tool, tool
from .execution import (
    CallsWait,
    ProgramError,
    ToolOutcome,
    execute_call,
    execute_calls,
    execute_one,
)
from .runner import CallRunner
from .toolset import Toolset

__all__ = [
    "CallRunner",
    "CallsWait",
    "ProgramError",
    "RunContext",
    "Tool",
    "ToolOutcome",
    "Toolset",
    "execute_call",
    "execute_calls",
    "execute_one",
    "tool",
]
