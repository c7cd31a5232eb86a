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


# -- tensors and what follows from them -------------------------------------------------------


def tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + sizes + struct.pack("<IQ", kind, offset)


def file_of(
    pairs: dict[str, bytes], sizes: dict[str, int], alignment: int = 32, *, cut: int = 0
) -> bytes:
    """A whole file: tensors of those sizes in that order, each padded to the alignment."""
    infos, at = b"", 0
    for name, size in sizes.items():
        infos += tensor(name, (size // 2, 2), 24, at)
        at += -(-size // alignment) * alignment
    head = b"GGUF" + struct.pack("<IQQ", 3, len(sizes), len(pairs))
    data = head + b"".join(text(key) + value for key, value in pairs.items()) + infos
    data += bytes(-len(data) % alignment + at)
    return data[: len(data) - cut]


def numbers(values: list[int]) -> bytes:
    return struct.pack(f"<IIQ{len(values)}i", 9, 5, len(values), *values)


MIXTURE = {
    "token_embd.weight": 640,
    "output_norm.weight": 32,
    "output.weight": 320,
    "blk.0.ffn_up.weight": 96,
    "blk.1.ffn_up_exps.weight": 1024,
    "blk.1.ffn_down_exps.weight": 1024,
    "blk.1.ffn_gate_inp.weight": 64,
    "blk.2.ffn_gate_up_exps.weight": 2048,
    "blk.2.ffn_up_chexps.weight": 128,
    "blk.2.ffn_up_shexp.weight": 32,
}


def test_sizes_of_tensors_come_from_their_offsets(tmp_path: Path) -> None:
    sizes = {"a": 100, "b": 64, "c": 10}
    for alignment in (32, 256):
        pairs = {"general.alignment": u32(alignment)}
        found = read_gguf_header(write(tmp_path, file_of(pairs, sizes, alignment)))
        padded = [-(-size // alignment) * alignment for size in sizes.values()]
        assert [each.size for each in found.tensors] == padded
        assert [each.name for each in found.tensors] == list(sizes)
        assert (found.tensors[0].shape, found.tensors[0].type) == ((50, 2), 24)


def test_bytes_are_added_up_by_layer_and_by_experts(tmp_path: Path) -> None:
    pairs = {"general.architecture": string("x"), "x.block_count": u32(3)}
    found = read_gguf_header(write(tmp_path, file_of(pairs, MIXTURE)))
    assert found.layers == 3
    assert found.layer_bytes == (96, 2112, 2208)
    assert found.expert_bytes == (0, 2048, 2176)
    assert (found.input_bytes, found.output_bytes) == (640, 352)


def test_embeddings_are_the_output_of_a_model_that_has_no_other(tmp_path: Path) -> None:
    tied = {name: size for name, size in MIXTURE.items() if name != "output.weight"}
    found = read_gguf_header(write(tmp_path, file_of({}, tied)))
    assert (found.input_bytes, found.output_bytes) == (640, 672)


def test_a_file_that_ends_among_the_weights_can_still_be_read(tmp_path: Path) -> None:
    found = read_gguf_header(write(tmp_path, file_of({}, {"a": 64, "b": 64, "c": 64}, cut=100)))
    assert [each.size for each in found.tensors] == [64, 28, 0]


def test_a_part_of_a_split_model_and_a_vocabulary_alone_can_be_read(tmp_path: Path) -> None:
    pairs = {
        "general.architecture": string("x"),
        "x.block_count": u32(4),
        "split.count": struct.pack("<IH", 2, 2),
    }
    part = read_gguf_header(write(tmp_path, file_of(pairs, {"blk.3.attn_q.weight": 64})))
    assert part.layer_bytes == (0, 0, 0, 64)
    bare = read_gguf_header(write(tmp_path, file_of(pairs, {})))
    assert bare.layer_bytes == (bare.size // 4,) * 4
    beyond = read_gguf_header(write(tmp_path, file_of(pairs, {"blk.9.attn_q.weight": 64})))
    assert beyond.layer_bytes == (0, 0, 0, 0)


def test_tensors_cut_anywhere_are_an_error_of_ours(tmp_path: Path) -> None:
    data = file_of({}, {"a": 32, "b": 32})
    for end in range(24, len(data) - 64 - 31):
        with pytest.raises(BackendUnavailable, match="cut off or damaged"):
            read_gguf_header(write(tmp_path, data[:end]))


@pytest.mark.parametrize(
    "nonsense",
    [
        struct.pack("<IQQ", 3, 1 << 60, 0),
        struct.pack("<IQQ", 3, 1, 0) + text("a") + struct.pack("<I", 1 << 31),
        struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQQ", 9, 8, 1, (1 << 64) - 1),
        struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQQ", 9, 8, 1, (1 << 63) - 1),
        struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQ", 9, 10, 1 << 59),
        # The last value is an array that is skipped and not there.
        struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQ", 9, 4, 2000),
    ],
)
def test_counts_that_cannot_be_are_an_error_of_ours(tmp_path: Path, nonsense: bytes) -> None:
    with pytest.raises(BackendUnavailable, match="cut off or damaged"):
        read_gguf_header(write(tmp_path, b"GGUF" + nonsense))


# -- the cache --------------------------------------------------------------------------------


def attention(architecture: str, layers: int, **more: bytes) -> dict[str, bytes]:
    """Two heads of 64 on one, in a model that is 128 wide; ``__`` stands for a dot."""
    keys = {
        "block_count": u32(layers),
        "embedding_length": u32(128),
        "attention.head_count": u32(2),
        "attention.head_count_kv": u32(1),
        **{key.replace("__", "."): value for key, value in more.items()},
    }
    named = {f"{architecture}.{key}": value for key, value in keys.items()}
    return {"general.architecture": string(architecture), **named}


def cache(folder: Path, pairs: dict[str, bytes], kv_type: str = "f16") -> tuple[int, ...]:
    return read_gguf_header(write(folder, header(pairs))).kv_bytes_by_layer(kv_type)


def test_short_arrays_of_numbers_are_read_and_long_ones_skipped(tmp_path: Path) -> None:
    pairs = {"short": numbers([1] * 1024), "long": numbers([1] * 1025), "last": u32(7)}
    found = read_gguf_header(write(tmp_path, header(pairs)))
    assert found.arrays == {"short": (1,) * 1024}
    assert found.metadata == {"last": 7}


def test_layers_without_key_value_heads_are_recurrent(tmp_path: Path) -> None:
    pairs = attention("lfm2", 4, attention__head_count_kv=numbers([0, 2, 0, 1]))
    assert cache(tmp_path, pairs) == (0, 512, 0, 256)
    found = read_gguf_header(write(tmp_path, header(pairs)))
    assert found.kv_bytes_per_token == 768


def test_recurrent_layers_are_those_that_the_file_or_the_interval_names(tmp_path: Path) -> None:
    assert cache(tmp_path, attention("qwen3next", 8)) == (0, 0, 0, 256, 0, 0, 0, 256)
    every = attention("qwen3next", 4, full_attention_interval=u32(2))
    assert cache(tmp_path, every) == (0, 256, 0, 256)
    flags = struct.pack("<IIQ3?", 9, 7, 3, True, False, True)
    named = attention("qwen3next", 3, attention__recurrent_layers=flags)
    assert cache(tmp_path, named) == (0, 256, 0)
    assert cache(tmp_path, attention("rwkv7", 2)) == (0, 0)


def test_lengths_of_heads_follow_from_the_width_where_the_file_does_not_say(tmp_path: Path) -> None:
    varied = attention("x", 3, attention__head_count=numbers([2, 4, 1]))
    assert read_gguf_header(write(tmp_path, header(varied))).head_lengths == (32, 32)
    named = attention("x", 1, attention__key_length=u32(192))
    assert read_gguf_header(write(tmp_path, header(named))).head_lengths == (192, 64)


@pytest.mark.parametrize("values", [[1, 2], [1, 2, 3, 4, 5]])
def test_an_array_for_fewer_layers_is_not_heeded_and_one_for_more_cut(
    tmp_path: Path, values: list[int]
) -> None:
    pairs = attention("x", 3, attention__head_count_kv=numbers(values))
    found = read_gguf_header(write(tmp_path, header(pairs)))
    expected = (9, 9, 9) if len(values) < 3 else (1, 2, 3)
    assert found.by_layer("attention.head_count_kv", 9) == expected


def test_real_files_add_up(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    from .embedded import synthetic

    path = synthetic.write_moe(tmp_path / "moe.gguf")
    found = read_gguf_header(path)
    data = sum(each.size for each in found.tensors)
    assert 0 < found.size - data < 32_000, "keys and names come before the data"
    assert sum(found.layer_bytes) + found.input_bytes + found.output_bytes == data
    # Eight experts of three matrices, 64 by 32, in q8_0.
    experts = 8 * 3 * 64 * 32 // 32 * 34
    assert found.expert_bytes == (0, experts, experts)
    assert len(found.tensors) == 3 + 9 + 2 * 14
    shapes = {each.name: each.shape for each in found.tensors}
    assert shapes["blk.1.ffn_up_exps.weight"] == (64, 32, 8)


def test_latent_attention_keeps_keys_only(tmp_path: Path) -> None:
    lengths = {"key_length": u32(576), "value_length": u32(512), "key_length_mla": u32(192)}
    pairs = attention("deepseek2", 1, **{f"attention__{k}": v for k, v in lengths.items()})
    assert cache(tmp_path, pairs) == (576 * 2,)


@pytest.mark.parametrize(
    ("kv_type", "size"),
    [
        ("f32", 512),
        ("f16", 256),
        ("q8_0", 136),
        ("q5_1", 96),
        ("q5_0", 88),
        ("q4_1", 80),
        ("q4_0", 72),
    ],
)
def test_quantised_caches_take_less(tmp_path: Path, kv_type: str, size: int) -> None:
    assert cache(tmp_path, attention("qwen2", 1), kv_type) == (size,)


def test_an_unknown_type_of_cache_is_the_callers_to_fix(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="unknown kv_type 'q2_k'; known: f32, f16, q8_0"):
        cache(tmp_path, attention("qwen2", 1), "q2_k")
