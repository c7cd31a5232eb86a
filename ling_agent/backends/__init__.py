"""Models that can be asked: embedded, remote, scripted."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .base import (
    Backend,
    Chunk,
    Finished,
    ModelInfo,
    ModelRequest,
    NamedTool,
    PrefillChunk,
    ReasoningChunk,
    TextChunk,
)
from .registry import open_backend

if TYPE_CHECKING:
    from .llama_cpp import LlamaCppBackend
    from .openai import OpenAIBackend
    from .remote.timeouts import Timeouts
    from .sglang import SGLangBackend
    from .vllm import VLLMBackend

__all__ = [
    "Backend",
    "Chunk",
    "Finished",
    "LlamaCppBackend",
    "ModelInfo",
    "ModelRequest",
    "NamedTool",
    "OpenAIBackend",
    "PrefillChunk",
    "ReasoningChunk",
    "SGLangBackend",
    "TextChunk",
    "Timeouts",
    "VLLMBackend",
    "open_backend",
]

# llama_cpp takes 0.3 s to import, httpx2 0.1 s: they are loaded by those who use them.
_LAZY = {
    "LlamaCppBackend": ".llama_cpp",
    "OpenAIBackend": ".openai",
    "SGLangBackend": ".sglang",
    "Timeouts": ".remote.timeouts",
    "VLLMBackend": ".vllm",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
