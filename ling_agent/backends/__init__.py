"""Models that can be asked: embedded, remote, scripted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import Backend, Chunk, Finished, ModelInfo, ModelRequest, ReasoningChunk, TextChunk
from .registry import open_backend

if TYPE_CHECKING:
    from .llama_cpp import LlamaCppBackend

__all__ = [
    "Backend",
    "Chunk",
    "Finished",
    "LlamaCppBackend",
    "ModelInfo",
    "ModelRequest",
    "ReasoningChunk",
    "TextChunk",
    "open_backend",
]


def __getattr__(name: str) -> Any:
    # llama_cpp takes 0.3 s to import: it is loaded by those who use it.
    if name == "LlamaCppBackend":
        from .llama_cpp import LlamaCppBackend

        return LlamaCppBackend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
