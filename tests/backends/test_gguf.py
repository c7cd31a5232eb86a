"""The header of a model file, read without the model."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from ling_agent import BackendUnavailable, ConfigurationError
from ling_agent.backends.gguf import read_gguf_header


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def header(pairs: dict[str, bytes], version: int = 3) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, 0, len(pairs))
    return head + b"".join(text(key) + value for key, value in pairs.items())


def u32(value: int) -> bytes:
    return struct.pack("<II", 4, value)


def string(value: str) -> bytes:
    return struct.pack("<I", 8) + text(value)


def write(folder: Path, data: bytes) -> Path:
    path = folder / "model.gguf"
    path.write_bytes(data)
    return path


QWEN = {
    "general.architecture": string("qwen2"),
    "tokenizer.ggml.tokens": struct.pack("<IIQ", 9, 8, 3) + text("a") + text("bc") + text(""),
    "tokenizer.ggml.scores": struct.pack("<IIQ3f", 9, 6, 3, 1, 2, 3),
    "qwen2.context_length": u32(32768),
    "qwen2.block_count": u32(24),
    "qwen2.embedding_length": u32(896),
    "qwen2.attention.head_count": u32(14),
    "qwen2.attention.head_count_kv": u32(2),
    "general.flag": struct.pack("<I?", 7, True),
    "general.half": struct.pack("<If", 6, 0.5),
    "tokenizer.chat_template": string("{{ größe }}"),
}


@pytest.mark.parametrize("version", [2, 3])
def test_scalars_and_texts_are_read_and_arrays_skipped(tmp_path: Path, version: int) -> None:
    data = header(QWEN, version)
    found = read_gguf_header(write(tmp_path, data))
    assert (found.architecture, found.context_length, found.size) == ("qwen2", 32768, len(data))
    assert found.metadata["general.flag"] is True
    assert found.metadata["general.half"] == 0.5
    assert found.metadata["tokenizer.chat_template"] == "{{ größe }}"
    assert "tokenizer.ggml.tokens" not in found.metadata


def test_the_size_of_the_cache_is_that_of_grouped_attention(tmp_path: Path) -> None:
    found = read_gguf_header(write(tmp_path, header(QWEN)))
    assert found.kv_bytes_per_token == 24 * 2 * (64 + 64) * 2


def test_explicit_key_and_value_lengths_win(tmp_path: Path) -> None:
    lengths = {"key_length": u32(128), "value_length": u32(32)}
    more = {f"qwen2.attention.{name}": value for name, value in lengths.items()}
    found = read_gguf_header(write(tmp_path, header({**QWEN, **more})))
    assert found.kv_bytes_per_token == 24 * 2 * (128 + 32) * 2


def test_what_is_not_said_is_unknown_or_nothing(tmp_path: Path) -> None:
    found = read_gguf_header(write(tmp_path, header({})))
    assert (found.architecture, found.context_length) == ("unknown", 0)
    assert found.kv_bytes_per_token == 0


def test_a_missing_file_is_the_callers_to_fix(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no model file at"):
        read_gguf_header(tmp_path / "none.gguf")
    with pytest.raises(ConfigurationError, match="is not a file"):
        read_gguf_header(tmp_path)


@pytest.mark.parametrize("data", [b"", b"GG", b"PK\x03\x04 a zip", b"\x80\x04 pickle"])
def test_another_kind_of_file_is_named_as_such(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BackendUnavailable, match="not a GGUF file"):
        read_gguf_header(write(tmp_path, data))


def test_an_old_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable, match="version 1"):
        read_gguf_header(write(tmp_path, header({}, version=1)))


def test_a_file_cut_anywhere_is_an_error_of_ours(tmp_path: Path) -> None:
    data = header(QWEN)
    for end in range(4, len(data)):
        with pytest.raises(BackendUnavailable, match=r"cut off or damaged|not a GGUF"):
            read_gguf_header(write(tmp_path, data[:end]))


@pytest.mark.parametrize(
    "value",
    [
        struct.pack("<I", 99),
        struct.pack("<IIQ", 9, 99, 1),
        struct.pack("<IQ", 8, 1 << 60),
        struct.pack("<I", 8) + struct.pack("<Q", 1) + b"\xff",
    ],
)
def test_nonsense_is_an_error_of_ours(tmp_path: Path, value: bytes) -> None:
    with pytest.raises(BackendUnavailable, match="cut off or damaged"):
        read_gguf_header(write(tmp_path, header({"key": value})))
