"""The header of a GGUF file: what the model is and what it weighs, read without loading it.

Layout after the GGUF specification, version 2 and 3, little endian: magic, version, tensor count,
key count, then typed key-value pairs, then the tensors' names, shapes, types and offsets. Short
arrays of numbers are read; the vocabulary is skipped, and no weight is read.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from ..errors import BackendUnavailable, ConfigurationError

KV_TYPES = {
    "f32": (4, 1),
    "f16": (2, 1),
    "q8_0": (34, 32),
    "q5_1": (24, 32),
    "q5_0": (22, 32),
    "q4_1": (20, 32),
    "q4_0": (18, 32),
}
"""Bytes of so many numbers in a key-value cache, by llama.cpp's name of the type."""

_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9
_MAX_STRING = 1 << 24
_MAX_SKIP = 1 << 40
_MAX_NUMBERS = 1024
_MAX_DIMENSIONS = 8
_ALIGNMENT = 32  # where the file does not name one

# What llama.cpp keeps in one token's place differs by architecture: these have no attention at all,
_RECURRENT = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})
# and these have it in every n-th layer, if the file does not say in which.
_ATTENTION_INTERVAL = {
    "minimax-01": 8,
    "qwen3next": 4,
    "qwen35": 4,
    "qwen35moe": 4,
    "qwen4exp": 4,
}
_LAYER = re.compile(r"blk\.(\d+)\.")
_EXPERTS = re.compile(r"blk\.\d+\.ffn_(up|down|gate|gate_up)_(ch)?exps")
# llama.cpp reads a row of these for each token and leaves them in the CPU's memory.
_INPUT = ("token_embd.", "token_types.", "position_embd.", "per_layer_token_embd.")


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor of a model file.

    Attributes:
        name: For example ``blk.3.ffn_up_exps.weight``.
        shape: Dimensions as the file has them, the contiguous one first.
        type: ggml's number of its type.
        size: Bytes up to the next tensor, padding included; 0 where the file ends before it.
    """

    name: str
    shape: tuple[int, ...]
    type: int
    size: int

    @property
    def layer(self) -> int | None:
        """The layer that it belongs to; None for embeddings and output."""
        found = _LAYER.match(self.name)
        return int(found[1]) if found else None

    @property
    def is_experts(self) -> bool:
        """Whether it holds routed experts: what llama.cpp can leave on the CPU (``n_cpu_moe``)."""
        return _EXPERTS.match(self.name) is not None


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    """Metadata of a model file.

    Attributes:
        path: The file.
        size: Bytes on disk, nearly all of them weights.
        metadata: Scalar and text values by key; arrays are left out.
        arrays: Arrays of at most 1,024 numbers by key.
        tensors: All tensors of this file; of a split model this file's part only.
    """

    path: Path
    size: int
    metadata: dict[str, str | int | float | bool] = field(
        default_factory=dict[str, str | int | float | bool]
    )
    arrays: dict[str, tuple[int | float | bool, ...]] = field(
        default_factory=dict[str, tuple[int | float | bool, ...]]
    )
    tensors: tuple[TensorInfo, ...] = ()

    @property
    def architecture(self) -> str:
        """llama.cpp's name for the architecture, for example ``qwen2`` or ``bailingmoe2``."""
        return str(self.metadata.get("general.architecture", "unknown"))

    def number(self, key: str, default: int = 0) -> int:
        """A number of the architecture's own section, for example ``context_length``."""
        value = self.metadata.get(f"{self.architecture}.{key}", default)
        return default if isinstance(value, str) else int(value)

    def by_layer(self, key: str, default: int = 0) -> tuple[int, ...]:
        """A number of the architecture's section for each layer: of an array, or one for all."""
        values = self.arrays.get(f"{self.architecture}.{key}")
        if values is None or len(values) < self.layers:
            return (self.number(key, default),) * self.layers
        return tuple(int(value) for value in values[: self.layers])

    @property
    def context_length(self) -> int:
        """Tokens that the model was trained for; 0 when the file does not say."""
        return self.number("context_length")

    @property
    def layers(self) -> int:
        """Number of layers; 0 when the file does not say."""
        return max(self.number("block_count"), 0)

    @property
    def layer_bytes(self) -> tuple[int, ...]:
        """Bytes of weights by layer, experts included; shares of the file if it names no tensor."""
        if not self.tensors:
            return (self.size // max(self.layers, 1),) * self.layers
        return self._sum_by_layer(self.tensors)

    @property
    def expert_bytes(self) -> tuple[int, ...]:
        """Bytes of routed experts by layer; zeros for a model without."""
        return self._sum_by_layer([tensor for tensor in self.tensors if tensor.is_experts])

    @property
    def input_bytes(self) -> int:
        """Bytes of the embeddings, which llama.cpp keeps in the CPU's memory."""
        return sum(tensor.size for tensor in self.tensors if tensor.name.startswith(_INPUT))

    @property
    def output_bytes(self) -> int:
        """Bytes outside the layers that go with the last of them to a GPU.

        A model without an output matrix uses its embeddings for it: llama.cpp copies them.
        """
        outside = [tensor for tensor in self.tensors if tensor.layer is None]
        own = sum(tensor.size for tensor in outside if not tensor.name.startswith(_INPUT))
        if any(tensor.name == "output.weight" for tensor in outside):
            return own
        return own + sum(tensor.size for tensor in outside if tensor.name == "token_embd.weight")

    @property
    def head_lengths(self) -> tuple[int, int]:
        """Numbers in a key and in a value of one attention head."""
        heads = self.by_layer("attention.head_count", 1)
        width = self.number("embedding_length") // max((1, *heads))
        key = self.number("attention.key_length", width)
        return key, self.number("attention.value_length", width)

    def kv_bytes_by_layer(self, kv_type: str = "f16") -> tuple[int, ...]:
        """Bytes that one token takes in each layer's key-value cache; 0 for recurrent layers.

        After llama.cpp's loaders: a layer without key-value heads is recurrent, and so are those
        that the file or the architecture's interval names; with multi-head latent attention only
        keys are kept. Sliding windows are counted as if they were whole, which is too much.

        Args:
            kv_type: One of `KV_TYPES`.

        Raises:
            ConfigurationError: There is no such type.
        """
        if kv_type not in KV_TYPES:
            raise ConfigurationError(f"unknown kv_type {kv_type!r}; known: {', '.join(KV_TYPES)}")
        size, numbers = KV_TYPES[kv_type]
        kv_heads = self.by_layer("attention.head_count", 1)
        if self._says("attention.head_count_kv"):
            kv_heads = self.by_layer("attention.head_count_kv")
        key, value = self.head_lengths
        row = key if self.number("attention.key_length_mla") else key + value
        return tuple(
            0 if recurrent else -(-count * row * size // numbers)
            for count, recurrent in zip(kv_heads, self._recurrent_layers(), strict=True)
        )

    def kv_bytes(self, kv_type: str = "f16") -> int:
        """Bytes that one token takes in the key-value cache of all layers."""
        return sum(self.kv_bytes_by_layer(kv_type))

    @property
    def kv_bytes_per_token(self) -> int:
        """Size of one token in a 16-bit key-value cache, in bytes; exact for plain attention."""
        return self.kv_bytes()

    def _says(self, key: str) -> bool:
        name = f"{self.architecture}.{key}"
        return name in self.metadata or name in self.arrays

    def _recurrent_layers(self) -> tuple[bool, ...]:
        if self.architecture in _RECURRENT:
            return (True,) * self.layers
        if self._says("attention.recurrent_layers"):
            return tuple(map(bool, self.by_layer("attention.recurrent_layers")))
        default = _ATTENTION_INTERVAL.get(self.architecture, 0)
        interval = self.number("full_attention_interval", default)
        return tuple(interval > 0 and (n + 1) % interval != 0 for n in range(self.layers))

    def _sum_by_layer(self, tensors: Sequence[TensorInfo]) -> tuple[int, ...]:
        sums = [0] * self.layers
        for tensor in tensors:
            if tensor.layer is not None and tensor.layer < len(sums):
                sums[tensor.layer] += tensor.size
        return tuple(sums)


def read_gguf_header(path: Path) -> GGUFHeader:
    """Read the header of a model file.

    Raises:
        ConfigurationError: There is no such file.
        BackendUnavailable: The file is no GGUF, or is cut off.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise ConfigurationError(f"{path} is not a file: name a .gguf file")
        with path.open("rb") as file:
            return _read_header(file, path, size)
    except FileNotFoundError:
        raise ConfigurationError(
            f"no model file at {path}: check the path, or use an alias of `ling-agent models list`"
        ) from None
    except PermissionError:
        raise ConfigurationError(f"the model file {path} may not be read: check its mode") from None
    except (struct.error, UnicodeDecodeError, ValueError, OverflowError):
        raise BackendUnavailable(
            f"{path} is cut off or damaged: download it again and compare its SHA-256"
        ) from None


def _read_header(file: BinaryIO, path: Path, size: int) -> GGUFHeader:
    if file.read(4) != b"GGUF":
        raise BackendUnavailable(
            f"{path} is not a GGUF file: llamacpp: loads GGUF only; "
            "safetensors and PyTorch weights have to be converted first"
        )
    (version,) = struct.unpack("<I", file.read(4))
    if version not in (2, 3):
        raise BackendUnavailable(f"{path} is GGUF version {version}; versions 2 and 3 can be read")
    tensors, keys = struct.unpack("<QQ", file.read(16))
    header = GGUFHeader(path, size)
    for _ in range(keys):
        key = _read_string(file)
        (kind,) = struct.unpack("<I", file.read(4))
        value = _read_value(file, kind)
        if isinstance(value, tuple):
            header.arrays[key] = value
        elif value is not None:
            header.metadata[key] = value
    return replace(header, tensors=_read_tensors(file, header, tensors))


def _read_tensors(file: BinaryIO, header: GGUFHeader, count: int) -> tuple[TensorInfo, ...]:
    found: list[tuple[str, tuple[int, ...], int, int]] = []
    for _ in range(count):
        name = _read_string(file)
        (dimensions,) = struct.unpack("<I", file.read(4))
        if dimensions > _MAX_DIMENSIONS:
            raise ValueError("too many dimensions")
        numbers = struct.unpack(f"<{dimensions}QIQ", file.read(8 * dimensions + 12))
        found.append((name, numbers[:dimensions], numbers[-2], numbers[-1]))
    if file.tell() > header.size:
        raise ValueError("cut off in an array that was skipped")
    alignment = header.metadata.get("general.alignment", _ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1:
        alignment = _ALIGNMENT
    start = -(-file.tell() // alignment) * alignment
    # A tensor's bytes end where the next one's begin; the last one's with the file.
    starts = sorted({offset for *_, offset in found})
    ends = dict(zip(starts, [*starts[1:], header.size - start], strict=True)) if starts else {}
    return tuple(
        TensorInfo(name, shape, kind, max(min(ends[offset], header.size - start) - offset, 0))
        for name, shape, kind, offset in found
    )


def _read_string(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > _MAX_STRING:
        raise ValueError("string too long")
    data = file.read(length)
    if len(data) < length:
        raise ValueError("cut off")
    return data.decode("utf-8")


def _skip(file: BinaryIO, length: int) -> None:
    # A position beyond what the system can count would be an error of its own.
    if length > _MAX_SKIP:
        raise ValueError("array too long")
    file.seek(length, 1)


def _read_value(
    file: BinaryIO, kind: int
) -> str | int | float | bool | tuple[int | float | bool, ...] | None:
    if kind == _STRING:
        return _read_string(file)
    if kind == _ARRAY:
        item, count = struct.unpack("<IQ", file.read(12))
        if item == _STRING:
            for _ in range(count):
                (length,) = struct.unpack("<Q", file.read(8))
                _skip(file, length)
        elif item in _SCALARS:
            size = struct.calcsize("<" + _SCALARS[item])
            if count <= _MAX_NUMBERS:
                return struct.unpack(f"<{count}{_SCALARS[item]}", file.read(size * count))
            _skip(file, size * count)
        else:
            raise ValueError("unknown array type")
        return None
    code = "<" + _SCALARS.get(kind, "")
    if code == "<":
        raise ValueError("unknown type")
    return struct.unpack(code, file.read(struct.calcsize(code)))[0]
