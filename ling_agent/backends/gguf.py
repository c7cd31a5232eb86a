"""The header of a GGUF file: what the model is, read without loading it.

Layout after the GGUF specification, version 2 and 3, little endian: magic, version, tensor count,
key count, then typed key-value pairs. Arrays (the vocabulary) are skipped.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ..errors import BackendUnavailable, ConfigurationError

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


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    """Metadata of a model file.

    Attributes:
        path: The file.
        size: Bytes on disk, nearly all of them weights.
        metadata: Scalar and text values by key; arrays are left out.
    """

    path: Path
    size: int
    metadata: dict[str, str | int | float | bool] = field(
        default_factory=dict[str, str | int | float | bool]
    )

    @property
    def architecture(self) -> str:
        """llama.cpp's name for the architecture, for example ``qwen2`` or ``bailingmoe2``."""
        return str(self.metadata.get("general.architecture", "unknown"))

    def number(self, key: str, default: int = 0) -> int:
        """A number of the architecture's own section, for example ``context_length``."""
        value = self.metadata.get(f"{self.architecture}.{key}", default)
        return default if isinstance(value, str) else int(value)

    @property
    def context_length(self) -> int:
        """Tokens that the model was trained for; 0 when the file does not say."""
        return self.number("context_length")

    @property
    def kv_bytes_per_token(self) -> int:
        """Size of one token in a 16-bit key-value cache, in bytes; exact for plain attention."""
        heads = self.number("attention.head_count", 1)
        kv_heads = self.number("attention.head_count_kv", heads)
        width = self.number("embedding_length") // max(heads, 1)
        key = self.number("attention.key_length", width)
        value = self.number("attention.value_length", width)
        return self.number("block_count") * kv_heads * (key + value) * 2


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
            return GGUFHeader(path, size, _read_metadata(file, path))
    except FileNotFoundError:
        raise ConfigurationError(
            f"no model file at {path}: check the path, or use an alias of `ling-agent models list`"
        ) from None
    except PermissionError:
        raise ConfigurationError(f"the model file {path} may not be read: check its mode") from None
    except (struct.error, UnicodeDecodeError, ValueError):
        raise BackendUnavailable(
            f"{path} is cut off or damaged: download it again and compare its SHA-256"
        ) from None


def _read_metadata(file: BinaryIO, path: Path) -> dict[str, str | int | float | bool]:
    if file.read(4) != b"GGUF":
        raise BackendUnavailable(
            f"{path} is not a GGUF file: llamacpp: loads GGUF only; "
            "safetensors and PyTorch weights have to be converted first"
        )
    (version,) = struct.unpack("<I", file.read(4))
    if version not in (2, 3):
        raise BackendUnavailable(f"{path} is GGUF version {version}; versions 2 and 3 can be read")
    _tensors, keys = struct.unpack("<QQ", file.read(16))
    metadata: dict[str, str | int | float | bool] = {}
    for _ in range(keys):
        key = _read_string(file)
        (kind,) = struct.unpack("<I", file.read(4))
        value = _read_value(file, kind)
        if value is not None:
            metadata[key] = value
    return metadata


def _read_string(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > _MAX_STRING:
        raise ValueError("string too long")
    data = file.read(length)
    if len(data) < length:
        raise ValueError("cut off")
    return data.decode("utf-8")


def _read_value(file: BinaryIO, kind: int) -> str | int | float | bool | None:
    if kind == _STRING:
        return _read_string(file)
    if kind == _ARRAY:
        item, count = struct.unpack("<IQ", file.read(12))
        if item == _STRING:
            for _ in range(count):
                (length,) = struct.unpack("<Q", file.read(8))
                file.seek(length, 1)
        elif item in _SCALARS:
            file.seek(struct.calcsize("<" + _SCALARS[item]) * count, 1)
        else:
            raise ValueError("unknown array type")
        return None
    code = "<" + _SCALARS.get(kind, "")
    if code == "<":
        raise ValueError("unknown type")
    return struct.unpack(code, file.read(struct.calcsize(code)))[0]
