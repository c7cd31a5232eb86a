"""Working buffers: what computing needs beside weights and caches.

llama.cpp gives every tensor of its graph a place in one buffer, and a place is free again once
the tensor was read. So the buffer is as large as what is alive at the worst moment of a layer, for
all tokens of a batch at once. Three moments can be the worst:

- in a feed-forward block: gate, up and their product, beside the residual and three tensors of its
  length;
- in a block of experts: the outputs of all experts in use, and the same weighted, beside the
  residual;
- in attention without flash attention: the scores, one for each head and place of the window.

The mask, one number for each token of the batch and place of the window, lives all the time: 16
bits with flash attention, 32 without. The graph's input is a few numbers for each token. Equal to
what llama.cpp prints for dense models and for ``bailingmoe2`` (0.3.36, on a CPU).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..backends.gguf import GGUFHeader
from ..facts import Shape

_FLOAT = 4
_INPUTS = 20  # bytes a token: its id, its position, its places in the cache


@dataclass(frozen=True, slots=True)
class Widths:
    """Lengths of the tensors of a layer, in numbers for each token.

    Attributes:
        hidden: The residual stream.
        feed_forward: A dense block; 0 without.
        keys: Keys of all heads, and values as many.
        heads: Query heads.
        experts: Routed experts, each of which the router scores.
        experts_used: Of those, how many each token uses.
        expert: The block of one expert.
        vocabulary: Logits.
    """

    hidden: int
    feed_forward: int
    keys: int
    heads: int
    experts: int
    experts_used: int
    expert: int
    vocabulary: int

    @property
    def longest(self) -> int:
        """The longest row that is multiplied with a matrix."""
        return max(self.hidden, self.feed_forward, self.experts_used * self.expert)


def widths_of_shape(shape: Shape) -> Widths:
    """Of a published configuration."""
    return Widths(
        hidden=shape.hidden,
        feed_forward=shape.dense_length if shape.dense_layers else 0,
        keys=shape.kv_heads * shape.head_length,
        heads=shape.heads,
        experts=shape.experts,
        experts_used=shape.experts_used,
        expert=shape.expert_length,
        vocabulary=shape.vocabulary,
    )


def widths_of_header(header: GGUFHeader) -> Widths:
    """Of a model file."""
    key, _ = header.head_lengths
    heads = max(header.by_layer("attention.head_count", 1), default=1)
    kv_heads = max(header.by_layer("attention.head_count_kv", heads), default=heads)
    return Widths(
        hidden=header.number("embedding_length"),
        feed_forward=max(header.by_layer("feed_forward_length"), default=0),
        keys=kv_heads * key,
        heads=heads,
        experts=header.number("expert_count"),
        experts_used=header.number("expert_used_count"),
        expert=header.number("expert_feed_forward_length"),
        vocabulary=vocabulary_size(header),
    )


def vocabulary_size(header: GGUFHeader) -> int:
    """Rows of the embeddings; 0 where the file has none."""
    named = (tensor for tensor in header.tensors if tensor.name == "token_embd.weight")
    return next((tensor.shape[-1] for tensor in named), 0)


def compute_buffer(widths: Widths, *, batch: int, window: int, flash_attention: bool = True) -> int:
    """Bytes of llama.cpp's compute buffer on a CPU, within a few per cent.

    Args:
        widths: Of the model.
        batch: Tokens that are evaluated in one go (``n_ubatch``).
        window: Tokens of one conversation's window, padded.
        flash_attention: Whether attention is computed without keeping the scores.
    """
    cell = _FLOAT // 2 if flash_attention else _FLOAT
    place = batch * window * cell
    moments = [_dense(widths), _experts(widths), _attention(widths)]
    alive = batch * (max(moments) * _FLOAT + _INPUTS) + place
    if flash_attention:
        return alive
    scores = batch * window * (widths.heads * _FLOAT + cell)
    return max(alive, batch * (_attention(widths) * _FLOAT + _INPUTS) + scores)


def multiply_buffer(widths: Widths, *, batch: int) -> int:
    """Bytes for the rows of a batch in 8 bits, which quantised matrices are multiplied with."""
    return batch * widths.longest * 34 // 32


def server_activations(widths: Widths, *, batch: int, sequences: int) -> int:
    """Bytes that vLLM or SGLang need on a card for a batch, in 16 bits; logits in 32.

    The same moments as in llama.cpp. An estimate: kernels keep more or less alive.
    """
    alive = max(_dense(widths), _experts(widths), _attention(widths))
    return batch * alive * _FLOAT // 2 + sequences * widths.vocabulary * _FLOAT * 2


def _dense(widths: Widths) -> int:
    return 3 * widths.feed_forward + 4 * widths.hidden


def _experts(widths: Widths) -> int:
    if not widths.experts:
        return 0
    router = 2 * widths.experts + 4 * widths.experts_used
    return (2 * widths.experts_used + 1) * widths.hidden + router


def _attention(widths: Widths) -> int:
    return 5 * widths.hidden + 2 * widths.keys
