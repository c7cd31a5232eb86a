"""Checks of the embedded engine that a server does not have: the file, the window, the device."""

from __future__ import annotations

import shutil

from .. import extras
from .advice import advise
from .findings import Verdict, ok, unknown, warning
from .probe import EmbeddedProbe

_SMALL = 8192


async def model(probe: EmbeddedProbe) -> Verdict:
    """Load it."""
    name, _, notes = await probe.describe()
    return ok("; ".join([f"loaded {name}", *notes]))


async def window(probe: EmbeddedProbe) -> Verdict:
    """How long prompt and answer may be."""
    tokens = probe.window
    if tokens is None:
        return unknown("the model file does not say how long its context window is")
    if tokens < _SMALL:
        return warning(
            f"{tokens:,} tokens: few for tools, their results and several steps",
            advise("window-small", probe.kind),
        )
    return ok(f"{tokens:,} tokens", tokens=tokens)


async def device(probe: EmbeddedProbe) -> Verdict:
    """GPU or CPU."""
    library = extras.require("llama_cpp", extra="llamacpp", why="the embedded backend")
    if library.llama_supports_gpu_offload():
        return ok("this build of llama.cpp puts the model on the GPU")
    if shutil.which("nvidia-smi"):
        return warning(
            "there is an NVIDIA driver, and this build of llama.cpp computes on the CPU only",
            advise("gpu", probe.kind),
        )
    return ok("this build of llama.cpp computes on the CPU")
