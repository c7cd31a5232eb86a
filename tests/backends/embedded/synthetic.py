"""Tiny models with random weights, one of each kind of memory that llama.cpp has.

They load and run in llama.cpp within milliseconds, and say nothing: tests compare their answers
with each other. Greedy answers depend on the whole prompt, do not end by themselves, and are
printable ASCII, since the output rows of all other tokens are zero. Every file is the same each
time that it is written.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGUFWriter
from numpy.typing import NDArray

from benchmarks.synthetic_ling import Shape, write_model
from benchmarks.synthetic_vocabulary import (
    CONTROL,
    USER_DEFINED,
    Vocabulary,
    add_vocabulary,
    build_vocabulary,
)

WIDTH = 64
HEAD = 32  # a multiple of 32, so that the cache can be quantised
CONTEXT_LENGTH = 4096
_INNER = 128
_SPECIAL = (
    ("<|endoftext|>", CONTROL),
    ("<|im_start|>", CONTROL),
    ("<|im_end|>", CONTROL),
    ("<|startoftext|>", CONTROL),
    ("<|role_end|>", CONTROL),
    ("<role>", CONTROL),
    ("</role>", CONTROL),
    ("<tool_call>", USER_DEFINED),
    ("</tool_call>", USER_DEFINED),
)
_MERGES = 300


def tiny_vocabulary(end: str = "<|im_end|>") -> Vocabulary:
    """256 bytes, 300 pairs of letters, and the special tokens of ChatML and of Ling."""
    return build_vocabulary(_MERGES, _SPECIAL, end)


def write_dense(path: Path) -> Path:
    """A `qwen2` of four layers with grouped attention, 2 heads on 1; about 0.7 MB."""
    model = _Model(path, "qwen2", layers=4)
    model.attention_keys(kv_heads=[1] * 4)
    for layer in range(4):
        model.norms(layer, "attn_norm", "ffn_norm")
        model.attention(layer)
        model.feed_forward(layer)
    return model.write(output_norm="output_norm")


def write_hybrid(path: Path) -> Path:
    """An `lfm2` of two convolutional (recurrent) and two attention layers, in turn."""
    kv_heads = [0, 1, 0, 1]
    model = _Model(path, "lfm2", layers=4)
    model.attention_keys(kv_heads)
    model.writer.add_shortconv_l_cache(3)
    for layer, heads in enumerate(kv_heads):
        model.norms(layer, "attn_norm", "ffn_norm")
        if heads:
            model.norms(layer, "attn_q_norm", "attn_k_norm", width=HEAD, scale=1.5)
            model.attention(layer)
        else:
            model.add(f"blk.{layer}.shortconv.conv", (WIDTH, 3))
            model.add(f"blk.{layer}.shortconv.in_proj", (3 * WIDTH, WIDTH))
            model.add(f"blk.{layer}.shortconv.out_proj", (WIDTH, WIDTH))
        model.feed_forward(layer)
    # llama.cpp's name for the output norm of this architecture.
    return model.write(output_norm="token_embd_norm")


def write_recurrent(path: Path) -> Path:
    """A `mamba` of three layers, whose states fade over some hundred tokens."""
    inner, state, rank = 2 * WIDTH, 16, 4
    model = _Model(path, "mamba", layers=3)
    writer = model.writer
    writer.add_head_count(0)
    writer.add_feed_forward_length(0)
    writer.add_ssm_conv_kernel(4)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    # The slowest of a channel's states loses a fraction of 0.02 * 0.3 in a token.
    decay = np.broadcast_to(-np.geomspace(0.02, 2.0, state, dtype=np.float32), (inner, state))
    for layer in range(3):
        model.norms(layer, "attn_norm")
        model.add(f"blk.{layer}.ssm_in", (2 * inner, WIDTH))
        model.add(f"blk.{layer}.ssm_conv1d", (inner, 4))
        model.put(f"blk.{layer}.ssm_conv1d.bias", np.zeros(inner, np.float32))
        model.add(f"blk.{layer}.ssm_x", (rank + 2 * state, inner))
        model.add(f"blk.{layer}.ssm_dt", (inner, rank), gain=0.3)
        model.put(f"blk.{layer}.ssm_dt.bias", np.full(inner, -1.05, np.float32))
        model.put(f"blk.{layer}.ssm_a", np.ascontiguousarray(decay))
        model.put(f"blk.{layer}.ssm_d", np.ones(inner, np.float32))
        model.add(f"blk.{layer}.ssm_out", (WIDTH, inner))
    return model.write(output_norm="output_norm")


def write_moe(path: Path) -> Path:
    """A `bailingmoe2` of a dense layer and two with eight experts, quantised to q8_0."""
    shape = Shape(
        hidden_size=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=WIDTH // HEAD,
        num_key_value_heads=1,
        head_dim=HEAD,
        intermediate_size=_INNER,
        moe_intermediate_size=HEAD,
        num_experts=8,
        num_experts_per_tok=2,
        n_group=4,
        topk_group=2,
        max_position_embeddings=CONTEXT_LENGTH,
    )
    write_model(path, shape, tiny_vocabulary("<|role_end|>"), kind="q8_0")
    return path


class _Model:
    """A float32 model in the making; names of tensors go without ``.weight``."""

    def __init__(self, path: Path, architecture: str, *, layers: int) -> None:
        self._path = path
        self._random = np.random.default_rng(layers)
        self._vocabulary = tiny_vocabulary()
        self.writer = GGUFWriter(path, architecture)
        self.writer.add_name(f"Synthetic {architecture}, random weights")
        self.writer.add_context_length(CONTEXT_LENGTH)
        self.writer.add_embedding_length(WIDTH)
        self.writer.add_block_count(layers)
        self.writer.add_vocab_size(len(self._vocabulary.tokens))
        self.writer.add_layer_norm_rms_eps(1e-6)
        add_vocabulary(self.writer, self._vocabulary, pre="qwen2")

    def attention_keys(self, kv_heads: list[int]) -> None:
        self.writer.add_feed_forward_length(_INNER)
        self.writer.add_head_count(WIDTH // HEAD)
        self.writer.add_head_count_kv(kv_heads if len(set(kv_heads)) > 1 else kv_heads[0])
        self.writer.add_rope_freq_base(10_000.0)

    def put(self, name: str, data: NDArray[np.float32]) -> None:
        self.writer.add_tensor(name, data)

    def add(self, name: str, shape: tuple[int, int], gain: float = 1.0) -> None:
        """A matrix; ``gain`` is the deviation of its product with an input of deviation 1."""
        noise = self._random.standard_normal(shape, np.float32)
        self.put(f"{name}.weight", noise * np.float32(gain / shape[-1] ** 0.5))

    def norms(self, layer: int, *names: str, width: int = WIDTH, scale: float = 1.0) -> None:
        for name in names:
            noise = self._random.uniform(0.9, 1.1, width).astype(np.float32)
            self.put(f"blk.{layer}.{name}.weight", noise * np.float32(scale))

    def attention(self, layer: int) -> None:
        # An average over the context is small: the gains let single tokens of it be felt.
        self.add(f"blk.{layer}.attn_q", (WIDTH, WIDTH), gain=1.5)
        self.add(f"blk.{layer}.attn_k", (HEAD, WIDTH), gain=1.5)
        self.add(f"blk.{layer}.attn_v", (HEAD, WIDTH))
        self.add(f"blk.{layer}.attn_output", (WIDTH, WIDTH), gain=4.0)

    def feed_forward(self, layer: int) -> None:
        self.add(f"blk.{layer}.ffn_gate", (_INNER, WIDTH))
        self.add(f"blk.{layer}.ffn_up", (_INNER, WIDTH))
        self.add(f"blk.{layer}.ffn_down", (WIDTH, _INNER))

    def write(self, *, output_norm: str) -> Path:
        size = len(self._vocabulary.tokens)
        self.add("token_embd", (size, WIDTH), gain=WIDTH**0.5)
        self.put(f"{output_norm}.weight", np.ones(WIDTH, np.float32))
        rows = self._random.standard_normal((size, WIDTH), np.float32) * np.float32(3 / WIDTH**0.5)
        rows[self._vocabulary.silent] = 0
        self.put("output.weight", rows)
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()
        return self._path
