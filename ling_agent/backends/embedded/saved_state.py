"""A conversation's state on disk: what a run needs to go on without evaluating its prompt again.

A state fits only the model, settings and llama.cpp build that computed it. `read_state` gives it
back when all of them are equal and every byte is as it was written; else it says why not, and the
caller evaluates the prompt.

Layout, little endian: magic (8 bytes), version (1), length and CRC-32 of the header (4 each), the
header (JSON), then the body: tokens (int32), text (UTF-8), data. The CRC-32 of the body is in the
header. It finds accidents, not forgeries: a state is as trustworthy as the folder it lies in.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import importlib.metadata
import json
import os
import re
import secrets
import stat
import struct
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from ...errors import StoreError

_MAGIC, _VERSION = b"LINGKV\r\n", 1
_PREFIX = struct.Struct("<8sBII")
_MAX_HEADER = 1 << 20
_PARTIAL = ".ling_agent-state-{}.part"
_LEFT_BEHIND = 3600.0  # seconds: no write takes that long
_KIB, _MIB = 1 << 10, 1 << 20

_AGAIN = ": it is computed again"
_CUT_OFF = f"the saved state is cut off{_AGAIN}"
_DAMAGED = f"the saved state is damaged{_AGAIN}"


@dataclass(frozen=True, slots=True)
class StateKey:
    """What a state depends on: it is of use only where all three are equal.

    Attributes:
        model: `model_fingerprint` of the model file.
        settings: Those that change the cache's layout or its numbers, as ``name=value`` separated
            by spaces, in a fixed order.
        build: `build_fingerprint` of llama.cpp.
    """

    model: str
    settings: str
    build: str

    def difference(self, now: StateKey) -> str:
        """What has changed since this key, as a clause; empty when the keys are equal."""
        changes: list[str] = []
        if self.model != now.model:
            changes.append("another model file")
        if self.settings != now.settings:
            then, today = self.settings.split(), now.settings.split()
            old = " ".join(pair for pair in then if pair not in today) or "default"
            new = " ".join(pair for pair in today if pair not in then) or "default"
            changes.append(f"other settings ({old}, now {new})")
        if self.build != now.build:
            changes.append(f"another llama.cpp build ({self.build}, now {now.build})")
        return " and ".join(changes)


@dataclass(frozen=True, slots=True)
class SavedState:
    """A conversation and the state of its sequence.

    Attributes:
        text: The conversation as it was sent and generated.
        tokens: The tokens of `text`.
        evaluated: How many of them, from the first, `data` holds.
        data: The state of the sequence, as llama.cpp gave it out.

    Raises:
        ValueError: `evaluated` is not a number of `tokens`.
    """

    text: str = field(repr=False)
    tokens: tuple[int, ...] = field(repr=False)
    evaluated: int
    data: bytes | bytearray | memoryview = field(repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.evaluated <= len(self.tokens):
            raise ValueError(f"{self.evaluated} of {len(self.tokens)} tokens evaluated")


def write_state(path: Path, key: StateKey, state: SavedState) -> None:
    """Save a state; readers find the old file or the new one, whole, whatever happens meanwhile.

    Only the user may read the file (mode 0600), for it holds the conversation's text.

    Raises:
        StoreError: It could not be written; what was there before is unchanged.
    """
    parts = _encode(key, state)
    # Named before it exists, so that no interrupt can leave it behind.
    partial = path.with_name(_PARTIAL.format(secrets.token_hex(8)))
    try:
        try:
            _sweep(path.parent)
            with open(partial, "xb", opener=_create_private) as file:
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        size = sum(memoryview(part).nbytes for part in parts)
        raise StoreError(
            f"the conversation's state was not saved to {path} ({_reason(error)}): "
            f"{_next_step(error, size)}"
        ) from None


def read_state(path: Path, key: StateKey) -> SavedState | str:
    """The state, or in one line why it is not to be had; nothing is raised.

    Args:
        path: What `write_state` wrote.
        key: What the state has to be of.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for a writer
            return f"{path.name} is not a file{_AGAIN}"
        with path.open("rb") as file:
            return _decode(file, key)
    except FileNotFoundError:
        return f"there is no saved state{_AGAIN}"
    except OSError as error:
        return f"the saved state cannot be read ({_reason(error)}){_AGAIN}"
    except MemoryError:
        return f"the saved state does not fit into memory{_AGAIN}"
    except (ValueError, RecursionError):  # of a path, of JSON, of UTF-8, of `SavedState`
        return _DAMAGED


def model_fingerprint(path: Path) -> str:
    """Size and digest of a model file, or of the first one of a split model.

    Not every byte is read of files above 6 MiB, but the first 4 MiB, the last MiB and 16 samples of
    64 KiB at equal distances: enough to tell models and quantisations apart, not to find a bit that
    has flipped.

    Raises:
        StoreError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return f"{size}-{_digest(_samples(file, size))}"
    except OSError as error:
        raise StoreError(
            f"the model file {path} cannot be read ({_reason(error)}): check the path and its mode"
        ) from None


def build_fingerprint(lib: Any) -> str:
    """Version of llama-cpp-python and a digest of its libllama and libggml files.

    The files are read once per process, at the first call, in the way of `model_fingerprint`: call
    it when a model is loaded, before an upgrade can replace them.

    Args:
        lib: The module ``llama_cpp.llama_cpp``.

    Raises:
        StoreError: The files cannot be found or read.
    """
    name = Path(os.fsdecode(lib._lib._name))
    # A bare name was left to the system's loader to find; the package has its own folder.
    folder = name.parent if name.is_absolute() else Path(lib.__file__).parent / "lib"
    return _build_in(folder)


@functools.cache
def _build_in(folder: Path) -> str:
    library = re.compile(r"(lib)?(llama|ggml).*\.(so|dylib|dll)(\.[\d.]+)?")
    try:
        files = [file for file in folder.iterdir() if library.fullmatch(file.name)]
    except OSError as error:
        raise StoreError(
            f"the libraries of llama.cpp cannot be read in {folder} ({_reason(error)}): "
            "install llama-cpp-python again"
        ) from None
    if not files:
        raise StoreError(f"no libraries of llama.cpp in {folder}: install llama-cpp-python again")
    # By content and as a set: some installations hold a library under three names, as copies.
    contents = sorted({model_fingerprint(file) for file in files})
    try:
        version = importlib.metadata.version("llama-cpp-python")
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    return f"{version}-{_digest(content.encode() for content in contents)}"


def _digest(pieces: Iterable[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _samples(file: BinaryIO, size: int) -> Iterable[bytes]:
    if size <= 6 * _MIB:  # what the samples add up to
        yield file.read()
        return
    yield file.read(4 * _MIB)
    for number in range(1, 17):
        file.seek(size * number // 17)
        yield file.read(64 * _KIB)
    file.seek(size - _MIB)
    yield file.read()


def _create_private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed while writing left behind."""
    for partial in folder.glob(_PARTIAL.format("*")):
        try:
            if partial.stat().st_mtime < time.time() - _LEFT_BEHIND:
                partial.unlink()
        except OSError:  # somebody else was faster, or owns it
            continue


def _encode(key: StateKey, state: SavedState) -> list[bytes | bytearray | memoryview]:
    """The file in parts; `SavedState.data` is not copied."""
    tokens = struct.pack(f"<{len(state.tokens)}i", *state.tokens)
    text = state.text.encode("utf-8", "surrogatepass")
    header = json.dumps(
        {
            "model": key.model,
            "settings": key.settings,
            "build": key.build,
            "tokens": len(state.tokens),
            "evaluated": state.evaluated,
            "text": len(text),
            "data": memoryview(state.data).nbytes,
            "checksum": _checksum(tokens, text, state.data),
        }
    ).encode()
    prefix = _PREFIX.pack(_MAGIC, _VERSION, len(header), zlib.crc32(header))
    return [prefix, header, tokens, text, state.data]


def _decode(file: BinaryIO, key: StateKey) -> SavedState | str:
    """Read a state from the beginning of an open file; what is odd raises ValueError."""
    prefix = file.read(_PREFIX.size)
    if not _MAGIC.startswith(prefix[:8]):
        return f"the file is not a saved state of ling_agent{_AGAIN}"
    if len(prefix) > 8 and prefix[8] > _VERSION:
        return (
            f"the saved state is of a newer ling_agent (version {prefix[8]}, this one reads "
            f"version {_VERSION}){_AGAIN}"
        )
    if len(prefix) < _PREFIX.size:
        return _CUT_OFF
    _, version, length, checksum = _PREFIX.unpack(prefix)
    if version != _VERSION or length > _MAX_HEADER:
        return _DAMAGED
    text = file.read(length)
    if len(text) < length:
        return _CUT_OFF
    if zlib.crc32(text) != checksum:
        return _DAMAGED
    header = _Header.read(text)
    difference = header.key.difference(key)
    if difference:
        return f"the saved state is of {' '.join(difference.split())}{_AGAIN}"
    return header.read_body(file)


@dataclass(frozen=True, slots=True)
class _Header:
    """What precedes the body; lengths in bytes, but `tokens` and `evaluated` in tokens."""

    key: StateKey
    tokens: int
    evaluated: int
    text: int
    data: int
    checksum: int

    @classmethod
    def read(cls, text: bytes) -> _Header:
        """Raises ValueError unless every field is there and of its type."""
        found: Any = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("no object")
        fields = cast("dict[str, Any]", found)
        names = [fields.get(name) for name in ("model", "settings", "build")]
        counts = [fields.get(name) for name in ("tokens", "evaluated", "text", "data", "checksum")]
        if not all(isinstance(name, str) for name in names):
            raise ValueError("no key")
        if not all(isinstance(count, int) and count >= 0 for count in counts):
            raise ValueError("no lengths")
        return cls(StateKey(*names), *counts)  # pyright: ignore[reportArgumentType]

    def read_body(self, file: BinaryIO) -> SavedState | str:
        """The rest of the file, of which nothing is read that cannot be whole."""
        expected = 4 * self.tokens + self.text + self.data
        rest = os.fstat(file.fileno()).st_size - file.tell()
        if rest != expected:
            return _CUT_OFF if rest < expected else _DAMAGED
        # Separate reads and not slices of one: each is a bytes object of its own without a copy.
        tokens, text, data = (file.read(n) for n in (4 * self.tokens, self.text, self.data))
        if len(tokens) + len(text) + len(data) < expected:
            return _CUT_OFF
        if _checksum(tokens, text, data) != self.checksum:
            return _DAMAGED
        return SavedState(
            text=text.decode("utf-8", "surrogatepass"),
            tokens=struct.unpack(f"<{self.tokens}i", tokens),
            evaluated=self.evaluated,
            data=data,
        )


def _checksum(*parts: bytes | bytearray | memoryview) -> int:
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return checksum


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _next_step(error: OSError, size: int) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return f"make room for {size / 1e6:,.0f} MB, or name a file on another disk"
        case errno.ENOENT | errno.ENOTDIR:
            return "make its folder first"
        case errno.EISDIR:
            return "name a file, not a folder"
        case _:
            return "name a file in a folder that you may write to"
