"""Checks of the embedded engine that a server does not have: the file, the window, the device."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import anyio.to_thread

from .. import catalog, extras, facts
from ..backends.embedded.devices import gpus
from ..backends.gguf import read_gguf_header
from ..errors import BackendError, ConfigurationError
from .advice import advise
from .findings import Verdict, broken, ok, unknown, warning
from .known import Bound, Cards, file_bound
from .probe import EmbeddedProbe

_SMALL = 8192
_DAMAGED = ("cut off or damaged", "not within the file bounds", "corrupted or incomplete")
_MEMORY = ("needs about", "no memory for", "does not fit", "out of memory")


async def model(probe: EmbeddedProbe) -> Verdict:
    """Load it."""
    try:
        name, _, notes = await probe.describe()
    except BackendError as error:
        return broken(str(error), advise(_reason(str(error)), probe.kind))
    return ok("; ".join([f"loaded {name}", *notes]))


def _reason(text: str) -> str:
    """The topic of the advice, by the engine's own words and llama.cpp's."""
    if "does not know the architecture" in text:
        return "architecture"
    if any(words in text for words in _DAMAGED):
        return "file"
    if any(words in text for words in _MEMORY):
        return "memory"
    return "failed"


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
    library = extras.require("llama_cpp.llama_cpp", extra="llamacpp", why="the embedded backend")
    if library.llama_supports_gpu_offload():
        found = gpus(library)
        if known := _known_cards([card.name for card in found]):
            probe.bound = await anyio.to_thread.run_sync(_find_bound, probe, known)
        where = ", ".join(f"{card.name}, {card.total / (1 << 30):.1f} GiB" for card in found)
        return ok(f"this build of llama.cpp puts the model on the GPU ({where})")
    if shutil.which("nvidia-smi"):
        return warning(
            "there is an NVIDIA driver, and this build of llama.cpp computes on the CPU only",
            advise("gpu", probe.kind),
        )
    return ok("this build of llama.cpp computes on the CPU")


def _known_cards(names: Sequence[str]) -> Cards | None:
    """The cards of a machine, where they are of one kind and there are facts about it."""
    if len(set(names)) != 1:
        return None
    try:
        return Cards(facts.gpu(names[0]), len(names))
    except ConfigurationError:
        return None


def _find_bound(probe: EmbeddedProbe, cards: Cards) -> Bound | None:
    """How fast the file can be; None when it is not found where the engine has it from."""
    name = probe.backend.name.partition(":")[2]
    path = catalog.cached_path(name) if name in catalog.CATALOG else Path(name)
    return file_bound(read_gguf_header(path), cards) if path and path.is_file() else None
