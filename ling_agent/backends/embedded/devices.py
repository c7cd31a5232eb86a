"""The graphics cards that llama.cpp was built for, asked through its own library."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_GPU_TYPES = (1, 2)  # GGML_BACKEND_DEVICE_TYPE_GPU and _IGPU


@dataclass(frozen=True, slots=True)
class GPU:
    """A card, or several as one: the name, and the memory in bytes at the time of asking."""

    name: str
    free: int
    total: int


def gpus(lib: Any) -> list[GPU]:
    """The cards that this build of llama.cpp can use; none without offload support.

    Args:
        lib: The ``llama_cpp`` bindings, whose library brings ggml's functions with it.
    """
    if not lib.llama_supports_gpu_offload():
        return []
    ggml = lib._lib
    count, get = ggml.ggml_backend_dev_count, ggml.ggml_backend_dev_get
    count.restype, get.restype, get.argtypes = ctypes.c_size_t, ctypes.c_void_p, [ctypes.c_size_t]
    kind, name = ggml.ggml_backend_dev_type, ggml.ggml_backend_dev_description
    kind.argtypes = name.argtypes = [ctypes.c_void_p]
    name.restype = ctypes.c_char_p
    memory = ggml.ggml_backend_dev_memory
    size = ctypes.POINTER(ctypes.c_size_t)
    memory.restype, memory.argtypes = None, [ctypes.c_void_p, size, size]
    found: list[GPU] = []
    for index in range(count()):
        device = get(index)
        if kind(device) not in _GPU_TYPES:
            continue
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        memory(device, ctypes.byref(free), ctypes.byref(total))
        found.append(GPU(name(device).decode("utf-8", "replace"), free.value, total.value))
    return found


def together(cards: Sequence[GPU]) -> GPU | None:
    """The cards as one: llama.cpp divides a model among them; None for no card."""
    if not cards:
        return None
    names = " + ".join(card.name for card in cards)
    return GPU(names, sum(card.free for card in cards), sum(card.total for card in cards))


class BufferOverride(ctypes.Structure):
    """``llama_model_tensor_buft_override``: tensors whose name matches go into that buffer type."""

    _fields_ = (("pattern", ctypes.c_char_p), ("buft", ctypes.c_void_p))


def experts_on_cpu(lib: Any, layers: int) -> Any:
    """The array for ``tensor_buft_overrides`` that keeps expert tensors in system memory.

    Args:
        lib: The ``llama_cpp`` bindings.
        layers: Of how many layers, counted from the first.
    """
    buffer_type = lib._lib.ggml_backend_cpu_buffer_type
    buffer_type.restype = ctypes.c_void_p
    array = (BufferOverride * (layers + 1))()  # the last one stays empty: it ends the array
    for layer in range(layers):
        pattern = rf"blk\.{layer}\.ffn_(up|down|gate|gate_up)_(ch|)exps".encode()
        array[layer] = BufferOverride(pattern, buffer_type())
    return array
