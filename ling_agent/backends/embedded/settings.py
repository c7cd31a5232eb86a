"""How a model is loaded: the settings, checked before anything is opened."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ...errors import ConfigurationError

GGML_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8}
"""Types of the KV cache, with ggml's numbers for them."""

MIN_CONTEXT = 64
MAX_PARALLEL = 64


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How a model is loaded; two backends with equal settings share one engine.

    Attributes:
        path: The GGUF file.
        n_ctx: Context window of each conversation, in tokens; None takes the model's own limit,
            bounded by memory.
        n_parallel: Conversations that the context holds, each with its window, and that generate
            at the same time; None takes 4, or fewer where memory is short.
        n_gpu_layers: Layers on the GPU; None offloads all of them when the build can.
        n_cpu_moe: Of that many layers, counted from the first, the expert tensors stay on the CPU.
        n_threads: Threads; None takes the cores that the process may use.
        n_batch: Prompt tokens that are evaluated in one go; a cancel is noticed between two.
        kv_type: Type of the KV cache, one of `GGML_TYPES`.
        flash_attention: None lets llama.cpp choose; a quantised cache needs it.

    Raises:
        ConfigurationError: A value that cannot be; the message names it.
    """

    path: Path
    n_ctx: int | None = None
    n_parallel: int | None = None
    n_gpu_layers: int | None = None
    n_cpu_moe: int = 0
    n_threads: int | None = None
    n_batch: int = 512
    kv_type: str = "f16"
    flash_attention: bool | None = None

    def __post_init__(self) -> None:
        if self.n_ctx is not None and self.n_ctx < MIN_CONTEXT:
            raise ConfigurationError(f"n_ctx must be at least {MIN_CONTEXT} tokens")
        if self.n_parallel is not None and not 1 <= self.n_parallel <= MAX_PARALLEL:
            raise ConfigurationError(f"n_parallel must be between 1 and {MAX_PARALLEL}")
        if self.n_cpu_moe < 0:
            raise ConfigurationError("n_cpu_moe must not be negative")
        if self.n_batch < 1:
            raise ConfigurationError("n_batch must be at least 1")
        if self.kv_type not in GGML_TYPES:
            known = ", ".join(GGML_TYPES)
            raise ConfigurationError(f"unknown kv_type {self.kv_type!r}; known: {known}")
        if self.flash_attention is False and self.kv_type not in ("f32", "f16"):
            raise ConfigurationError(
                f"kv_type={self.kv_type!r} needs flash attention: leave flash_attention out"
            )

    @property
    def threads(self) -> int:
        """Threads to run with."""
        return self.n_threads or usable_cores()


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
