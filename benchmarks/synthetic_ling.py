"""A model file of Ling-mini-2.0's shape, for measuring speed where the real one is not at hand.

Run with `python -m benchmarks.synthetic_ling PATH [--layers N] [--experts N] [--type q4_0|q8_0]`.

The weights are random and the vocabulary is made up: what such a model writes is noise. It measures
speed and memory only. The numbers are those of inclusionAI/Ling-mini-2.0's config.json; keys and
tensors are those that llama.cpp loads for the architecture `bailingmoe2`. All matrices are of one
type: the file has 9.2 GB in q4_0 (the published Q4_K_M has 9.9 GB). Greedy answers do not end: the
output rows of special tokens and of bytes that do not print are zero. They may repeat a token, and
with it its experts, which then are in the processor's caches: measure with a temperature.

Needs numpy and gguf, nothing else of this project.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from numpy.typing import NDArray

from .synthetic_vocabulary import (
    LING_VOCABULARY,
    Vocabulary,
    add_vocabulary,
    ling_vocabulary,
)

TYPES = {"q4_0": GGMLQuantizationType.Q4_0, "q8_0": GGMLQuantizationType.Q8_0}

Array = NDArray[np.uint8] | NDArray[np.float32]
Progress = Callable[[int, int], None]

_BLOCK = 32  # weights in a block of both types, behind a 16-bit scale
_BLOCK_BYTES = {GGMLQuantizationType.Q4_0: 18, GGMLQuantizationType.Q8_0: 34}
_SIGMOID = 2  # llama.cpp's number for a router that scores with a sigmoid
_POOL_BLOCKS = 3_700_001  # odd: a tensor that is longer does not repeat whole rows
_SPARE_DISK = 64 << 20


@dataclass(frozen=True, slots=True)
class Shape:
    """Hyperparameters, with the names of Ling's config.json; the defaults are Ling-mini-2.0's."""

    hidden_size: int = 2048
    num_hidden_layers: int = 20
    num_attention_heads: int = 16
    num_key_value_heads: int = 4
    head_dim: int = 128
    intermediate_size: int = 5120
    moe_intermediate_size: int = 512
    num_experts: int = 256
    num_experts_per_tok: int = 8
    num_shared_experts: int = 1
    n_group: int = 8
    topk_group: int = 4
    first_k_dense_replace: int = 1
    max_position_embeddings: int = 32768
    rope_theta: float = 600_000.0
    partial_rotary_factor: float = 0.5
    routed_scaling_factor: float = 2.5


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor to be written.

    Attributes:
        name: llama.cpp's name for it.
        shape: Dimensions; a product with it sums over the last one.
        kind: ``weight`` (quantised), or ``norm`` (about 1), ``router`` and ``zeros`` (float32).
        gain: Standard deviation of the product with an input of standard deviation 1.
    """

    name: str
    shape: tuple[int, ...]
    kind: str = "weight"
    gain: float = 1.0

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return prod(self.shape)

    def size(self, quantised: GGMLQuantizationType) -> int:
        """Bytes in the file, without padding."""
        if self.kind == "weight":
            return self.parameters // _BLOCK * _BLOCK_BYTES[quantised]
        return self.parameters * 4


def plan(shape: Shape, n_vocab: int) -> list[Tensor]:
    """The tensors of a model, in the order in which they are written."""
    width = shape.hidden_size
    tensors = [
        # Rows of standard deviation 1, like what the layers add to them.
        Tensor("token_embd.weight", (n_vocab, width), gain=width**0.5),
        Tensor("output_norm.weight", (width,), "norm"),
        # Logits spread widely, so that rounding rarely changes the most likely token.
        Tensor("output.weight", (n_vocab, width), gain=3.0),
    ]
    for layer in range(shape.num_hidden_layers):
        inside = _layer(shape, dense=layer < shape.first_k_dense_replace)
        tensors += (replace(tensor, name=f"blk.{layer}.{tensor.name}") for tensor in inside)
    return tensors


def _layer(shape: Shape, *, dense: bool) -> list[Tensor]:
    width, head, experts = shape.hidden_size, shape.head_dim, shape.num_experts
    heads, kv_heads = shape.num_attention_heads, shape.num_key_value_heads
    attention = [
        Tensor("attn_norm.weight", (width,), "norm"),
        Tensor("attn_qkv.weight", ((heads + 2 * kv_heads) * head, width)),
        Tensor("attn_q_norm.weight", (head,), "norm"),
        Tensor("attn_k_norm.weight", (head,), "norm"),
        # An average over the context is small: the gain lets the context be felt.
        Tensor("attn_output.weight", (width, heads * head), gain=4.0),
        Tensor("ffn_norm.weight", (width,), "norm"),
    ]
    if dense:
        return attention + _feed_forward("", (), width, shape.intermediate_size)
    inner = shape.moe_intermediate_size
    return [
        *attention,
        Tensor("ffn_gate_inp.weight", (experts, width), "router"),
        Tensor("exp_probs_b.bias", (experts,), "zeros"),
        *_feed_forward("_exps", (experts,), width, inner),
        *_feed_forward("_shexp", (), width, inner * shape.num_shared_experts),
    ]


def _feed_forward(suffix: str, lead: tuple[int, ...], width: int, inner: int) -> list[Tensor]:
    return [
        Tensor(f"ffn_gate{suffix}.weight", (*lead, inner, width)),
        Tensor(f"ffn_up{suffix}.weight", (*lead, inner, width)),
        Tensor(f"ffn_down{suffix}.weight", (*lead, width, inner)),
    ]


def parameters(shape: Shape, n_vocab: int) -> tuple[int, int]:
    """All parameters, and those that one token uses, embeddings counted in both."""
    tensors = plan(shape, n_vocab)
    total = sum(tensor.parameters for tensor in tensors)
    routed = sum(tensor.parameters for tensor in tensors if "_exps." in tensor.name)
    return total, total - routed + routed * shape.num_experts_per_tok // shape.num_experts


class _Weights:
    """Random data. A quantised tensor is a stretch of a pool of random blocks, which is fast."""

    def __init__(self, quantised: GGMLQuantizationType, largest: int, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        count = min(_POOL_BLOCKS, 4 * largest // _BLOCK + 1)
        if quantised is GGMLQuantizationType.Q4_0:
            # Nibbles stand for -8 to 7; without -8 their mean is zero.
            nibbles = self._random.integers(1, 16, (2, count, _BLOCK // 2), np.uint8)
            self._values, self._deviation = nibbles[0] | nibbles[1] << 4, (224 / 12) ** 0.5
        else:
            values = self._random.integers(-127, 128, (count, _BLOCK), np.int8)
            self._values, self._deviation = values.view(np.uint8), (65024 / 12) ** 0.5
        self._pools: dict[float, NDArray[np.uint8]] = {}

    def make(self, tensor: Tensor) -> Array:
        """The data of a tensor: rows of blocks as bytes, or float32."""
        deviation = tensor.gain / tensor.shape[-1] ** 0.5
        if tensor.kind == "weight":
            count = tensor.parameters // _BLOCK
            return self._stretch(self._pool(deviation), count).reshape(
                tensor.parameters // tensor.shape[-1], -1
            )
        if tensor.kind == "zeros":
            return np.zeros(tensor.shape, np.float32)
        noise = self._random.standard_normal(tensor.shape, np.float32)
        if tensor.kind == "norm":
            return np.float32(1) + np.float32(0.1) * noise
        return noise * np.float32(deviation)

    def _pool(self, deviation: float) -> NDArray[np.uint8]:
        """Blocks whose weights have that standard deviation: a scale, then the values."""
        if deviation not in self._pools:
            spread = self._random.uniform(0.8, 1.2, (len(self._values), 1))
            scales = (spread * deviation / self._deviation).astype("<f2").view(np.uint8)
            self._pools[deviation] = np.concatenate([scales, self._values], axis=1)
        return self._pools[deviation]

    def _stretch(self, pool: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
        stretch = np.empty((count, pool.shape[1]), np.uint8)
        start, done = int(self._random.integers(len(pool))), 0
        while done < count:
            step = min(count - done, len(pool) - start)
            stretch[done : done + step] = pool[start : start + step]
            start, done = 0, done + step
        return stretch


def write_model(
    path: Path,
    shape: Shape,
    vocabulary: Vocabulary,
    *,
    kind: str = "q4_0",
    seed: int = 0,
    progress: Progress | None = None,
) -> int:
    """Write a `bailingmoe2` model with random weights; return the bytes of its tensors.

    The file appears under its name when it is whole; what was written is removed on any failure.
    Memory: one tensor and a few pools of blocks; 0.8 GB at Ling-mini-2.0's shape, 1.5 in q8_0.

    Args:
        path: The file; an existing one is replaced.
        shape: Widths and counts; the rows of every matrix have to be multiples of 32.
        vocabulary: Tokens and merges.
        kind: Type of all matrices, one of `TYPES`.
        seed: The same seed gives the same file.
        progress: Called after each tensor with the bytes that are written and that will be.

    Raises:
        OSError: The disk has no room for it, or it cannot be written.
    """
    tensors = plan(shape, len(vocabulary.tokens))
    total = sum(tensor.size(TYPES[kind]) for tensor in tensors)
    free = shutil.disk_usage(path.parent).free
    if free < total + _SPARE_DISK:
        raise OSError(f"{path.parent} has {free / 1e9:.1f} GB free, {total / 1e9:.1f} are needed")
    with _whole_file(path) as writer:
        _add_keys(writer, shape)
        add_vocabulary(writer, vocabulary, pre="bailingmoe2")
        _write_header(writer, tensors, TYPES[kind])
        weights = _Weights(TYPES[kind], max(tensor.parameters for tensor in tensors), seed)
        done = 0
        for tensor in tensors:
            data = weights.make(tensor)
            if tensor.name == "output.weight":
                data[vocabulary.silent] = 0
            writer.write_tensor_data(data)
            done += data.nbytes
            if progress is not None:
                progress(done, total)
    return total


@contextmanager
def _whole_file(path: Path) -> Generator[GGUFWriter]:
    """A writer of a file that gets its name at the end, and is removed on any failure."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    writer = GGUFWriter(partial, "bailingmoe2")
    try:
        yield writer
        writer.close()
        partial.replace(path)
    except BaseException:
        # On a full disk closing fails as well, for want of room for what is buffered.
        with suppress(OSError):
            writer.close()
        partial.unlink(missing_ok=True)
        raise


def _write_header(
    writer: GGUFWriter, tensors: Sequence[Tensor], quantised: GGMLQuantizationType
) -> None:
    for tensor in tensors:
        kind = quantised if tensor.kind == "weight" else GGMLQuantizationType.F32
        size = tensor.size(quantised)
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), size, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()


def _add_keys(writer: GGUFWriter, shape: Shape) -> None:
    writer.add_name("Synthetic model of Ling's shape, random weights")
    writer.add_context_length(shape.max_position_embeddings)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_block_count(shape.num_hidden_layers)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_head_count(shape.num_attention_heads)
    writer.add_head_count_kv(shape.num_key_value_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_rope_dimension_count(int(shape.head_dim * shape.partial_rotary_factor))
    writer.add_leading_dense_block_count(shape.first_k_dense_replace)
    writer.add_expert_count(shape.num_experts)
    writer.add_expert_used_count(shape.num_experts_per_tok)
    writer.add_expert_group_count(shape.n_group)
    writer.add_expert_group_used_count(shape.topk_group)
    writer.add_expert_shared_count(shape.num_shared_experts)
    writer.add_expert_feed_forward_length(shape.moe_intermediate_size)
    writer.add_expert_shared_feed_forward_length(shape.moe_intermediate_size)
    writer.add_expert_weights_scale(shape.routed_scaling_factor)
    writer.add_expert_weights_norm(True)
    writer.add_uint32("bailingmoe2.expert_gating_func", _SIGMOID)


def _show(done: int, total: int) -> None:
    end = "\n" if done == total else ""
    print(f"\r{done / 1e9:.2f} of {total / 1e9:.2f} GB", end=end, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.synthetic_ling",
        description="Write a GGUF of Ling-mini-2.0's shape with random weights: for speed only.",
    )
    parser.add_argument("path", type=Path, help="the .gguf file to be written")
    parser.add_argument("--layers", type=int, default=20, help="layers, at least 2 (default 20)")
    parser.add_argument(
        "--experts", type=int, default=256, help="a multiple of 8, 16 to 256 (default 256)"
    )
    parser.add_argument("--type", choices=TYPES, default="q4_0", help="type of the matrices")
    options = parser.parse_args(arguments)
    if options.layers < 2:
        parser.error("--layers must be at least 2: the first one has no experts")
    # Eight experts are chosen among those of four groups of eight.
    if options.experts % 8 or not 16 <= options.experts <= 256:
        parser.error("--experts must be a multiple of 8, 16 to 256")
    shape = Shape(num_hidden_layers=options.layers, num_experts=options.experts)
    total, active = parameters(shape, LING_VOCABULARY)
    print(f"{total / 1e9:.2f} B parameters, {active / 1e9:.2f} B active; all of them random")
    try:
        size = write_model(
            options.path, shape, ling_vocabulary(), kind=options.type, progress=_show
        )
    except OSError as error:
        print(f"not written: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; nothing is left behind", file=sys.stderr)
        return 130
    print(f"{options.path}: {size / 1e9:.2f} GB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
