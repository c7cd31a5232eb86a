"""The Hermes wire format, standard library only: read what a model writes, render what it reads."""

from __future__ import annotations

from .neutralise import neutralise, restore
from .parser import HermesParser, collect, parse
from .render import TEMPLATES, PromptRenderer, render
from .tags import SPECIAL_TOKENS, STOP_STRINGS
from .templates import render_call, render_tool_response
from .types import (
    ArgumentsDelta,
    CallFailed,
    CallParsed,
    CallStarted,
    FailureKind,
    HermesError,
    ParsedCall,
    ParsedMessage,
    ParserEvent,
    ReasoningDelta,
    TextDelta,
)

__all__ = [
    "SPECIAL_TOKENS",
    "STOP_STRINGS",
    "TEMPLATES",
    "ArgumentsDelta",
    "CallFailed",
    "CallParsed",
    "CallStarted",
    "FailureKind",
    "HermesError",
    "HermesParser",
    "ParsedCall",
    "ParsedMessage",
    "ParserEvent",
    "PromptRenderer",
    "ReasoningDelta",
    "TextDelta",
    "collect",
    "neutralise",
    "parse",
    "render",
    "render_call",
    "render_tool_response",
    "restore",
]
