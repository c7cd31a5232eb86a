"""An entry as a row: its JSON, compressed where that makes it smaller, with a checksum."""

from __future__ import annotations

import functools
import importlib
import json
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from ...errors import StoreError
from ..encoding import entry_from_json, entry_to_json
from ..trajectory import Entry
from .dictionary import SHORT
from .faults import DamageError

PLAIN, ZLIB, ZSTD, ZLIB_SHORT = 0, 1, 2, 3
"""How a body is kept. What is short is best compressed with a dictionary of what is usual."""

TASK, WITHDRAWAL = 1, 2
"""Marks of rows: what the newest task is can be told without reading the others."""

_MARKS = {"task": TASK, "withdrawal": WITHDRAWAL}
_TINY, _SHORT, _HUGE = 60, 4_000, 1_000_000
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

Compress = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Row:
    """What the table ``entries`` has of an entry."""

    id: int
    step: int
    mark: int | None
    codec: int
    crc: int
    body: bytes


def to_row(entry: Entry) -> Row:
    """An entry as a row.

    Raises:
        StoreError: Its data is not JSON.
    """
    data = entry_to_json(entry)
    # What the columns and the place say is not said again.
    del data["id"], data["step"]
    if data["parent"] == (entry.id - 1 if entry.id else None):
        del data["parent"]
    for name in ("data", "tokens"):
        if not data[name] and data[name] != 0:
            del data[name]
    try:
        text = _ENCODER.encode(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(
            f"entry {entry.id} cannot be kept, its data is not JSON: {error}"
        ) from error
    plain = text.encode("utf-8", "surrogatepass")
    codec, body = _compressed(plain)
    return Row(entry.id, entry.step, _MARKS.get(entry.kind), codec, zlib.crc32(body), body)


def from_row(id_: int, step: int, codec: int, crc: int, body: bytes) -> Entry:
    """Read what `to_row` made.

    Raises:
        DamageError: The bytes are not those that were written.
        StoreError: It is compressed with something that is not installed.
    """
    if zlib.crc32(body) != crc:
        raise DamageError(f"the checksum of entry {id_} is wrong")
    try:
        data: dict[str, Any] = json.loads(_plain(codec, body).decode("utf-8", "surrogatepass"))
        data.setdefault("parent", id_ - 1 if id_ else None)
        data.setdefault("tokens", None)
        data.setdefault("data", {})
        return entry_from_json({"id": id_, "step": step, **data})
    except StoreError:
        raise
    except Exception as error:
        raise DamageError(f"entry {id_} cannot be read ({error})") from error


def _compressed(plain: bytes) -> tuple[int, bytes]:
    if len(plain) < _TINY:
        return PLAIN, plain
    if len(plain) < _SHORT:
        short = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=SHORT)
        codec, body = ZLIB_SHORT, short.compress(plain) + short.flush()
    elif (zstd := _zstd()) is not None:
        codec, body = ZSTD, zstd[0](plain)
    else:
        codec, body = ZLIB, zlib.compress(plain, 1 if len(plain) > _HUGE else 6)
    return (codec, body) if len(body) < len(plain) else (PLAIN, plain)


def _plain(codec: int, body: bytes) -> bytes:
    if codec == PLAIN:
        return body
    if codec == ZLIB:
        return zlib.decompress(body)
    if codec == ZLIB_SHORT:
        short = zlib.decompressobj(-zlib.MAX_WBITS, zdict=SHORT)
        return short.decompress(body) + short.flush()
    if codec != ZSTD:
        raise StoreError(f"there is no compression {codec} here: upgrade ling-agent")
    if (zstd := _zstd()) is None:
        raise StoreError(
            "the store is compressed with zstd, which is not installed: "
            "pip install 'ling-agent[zstd]'"
        )
    return zstd[1](body)


@functools.cache
def _zstd() -> tuple[Compress, Compress] | None:
    """Compress and decompress with zstd; None where there is none."""
    try:  # Python 3.14
        module = cast("Any", importlib.import_module("compression.zstd"))
        return module.compress, module.decompress
    except ImportError:
        pass
    try:
        return _of_package(cast("Any", importlib.import_module("zstandard")))
    except ImportError:
        return None


def _of_package(zstandard: Any) -> tuple[Compress, Compress]:
    # A compressor must not be used by two threads at once.
    own = threading.local()

    def compress(data: bytes) -> bytes:
        if not hasattr(own, "compressor"):
            own.compressor = zstandard.ZstdCompressor(level=3)
        return own.compressor.compress(data)

    def decompress(data: bytes) -> bytes:
        if not hasattr(own, "decompressor"):
            own.decompressor = zstandard.ZstdDecompressor()
        return own.decompressor.decompress(data)

    return compress, decompress
