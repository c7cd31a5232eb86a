"""Agents on Ling and other models that speak the Hermes tool format.

    from ling_agent import Agent, tool

Heavy and optional parts are loaded when they are first used.
"""

from __future__ import annotations

from .agent import Agent
from .answers import AnswerError
from .approvals import ApprovalRequest, Deny, Edit
from .cancellation import CancelToken
from .documents import Document
from .errors import (
    BackendError,
    BackendRefused,
    BackendUnavailable,
    CatalogError,
    ConfigurationError,
    ContextOverflow,
    DigestMismatch,
    DownloadError,
    HermesError,
    LingAgentError,
    ServerMisconfigured,
    StoreError,
    ToolError,
    Vetoed,
)
from .hooks import Veto
from .limits import Limits, Sampling
from .memory import Memory, Trajectory
from .results import Plan, PlanStep, RunResult, RunStatus, Step, Usage
from .stream import RunStream
from .tools import RunContext, Tool, tool
from .version import __version__ as __version__

__all__ = [
    "Agent",
    "AnswerError",
    "ApprovalRequest",
    "BackendError",
    "BackendRefused",
    "BackendUnavailable",
    "CancelToken",
    "CatalogError",
    "ConfigurationError",
    "ContextOverflow",
    "Deny",
    "DigestMismatch",
    "Document",
    "DownloadError",
    "Edit",
    "HermesError",
    "Limits",
    "LingAgentError",
    "Memory",
    "Plan",
    "PlanStep",
    "RunContext",
    "RunResult",
    "RunStatus",
    "RunStream",
    "Sampling",
    "ServerMisconfigured",
    "Step",
    "StoreError",
    "Tool",
    "ToolError",
    "Trajectory",
    "Usage",
    "Veto",
    "Vetoed",
    "tool",
]
