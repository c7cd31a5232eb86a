"""What follows from a model's configuration: parameters, cache and state, by arithmetic.

Four kinds of layer are known: grouped-query attention; multi-head latent attention (MLA), which
keeps a low-rank key only; lightning attention (Ling 2.5, 2.6) and Kimi delta attention (KDA, Ling
3.0), which keep a state of constant size. In a hybrid model the last layer of each group has MLA.
"""

from __future__ import annotations

from dataclasses import dataclass

_STATE_BYTES = 4  # the linear state is kept in float32
_CACHE_BYTES = 2  # the key-value cache is counted in bf16 or f16


@dataclass(frozen=True, slots=True)
class Shape:
    """Numbers of a model's configuration.

    Attributes:
        layers: Transformer layers, the multi-token-prediction layer not counted.
        hidden: Length of the residual stream.
        vocabulary: Tokens.
        heads: Query heads of a layer.
        kv_heads: Key-value heads of a layer of grouped-query attention.
        head_length: Numbers in a head's key and value.
        tied: Whether the output is the embedding matrix.
        qkv_bias: Whether query, key and value have a bias.
        qk_norm: Whether queries and keys are normalised.
        linear: ``lightning`` or ``kda`` for a hybrid model; empty for attention in all layers.
        group: Layers of a group of a hybrid model, of which the last one has MLA.
        kv_rank: Length of MLA's compressed key; 0 without MLA.
        rope_length: Numbers of MLA's key that carry the position.
        q_rank: Length of MLA's compressed query; 0 where it is not compressed.
        convolution: Width of KDA's convolution; 0 without.
        dense_layers: Layers with one feed-forward block; the others have experts.
        dense_length: Length of that block.
        experts: Routed experts of a layer.
        experts_used: Of those, how many each token uses.
        shared_experts: Experts that every token uses.
        expert_length: Length of an expert's block.
    """

    layers: int
    hidden: int
    vocabulary: int
    heads: int
    kv_heads: int
    head_length: int
    tied: bool = False
    qkv_bias: bool = False
    qk_norm: bool = False
    linear: str = ""
    group: int = 0
    kv_rank: int = 0
    rope_length: int = 0
    q_rank: int = 0
    convolution: int = 0
    dense_layers: int = 0
    dense_length: int = 0
    experts: int = 0
    experts_used: int = 0
    shared_experts: int = 0
    expert_length: int = 0

    @property
    def attention_layers(self) -> int:
        """Layers with a key-value cache."""
        return self.layers // self.group if self.linear else self.layers

    @property
    def linear_layers(self) -> int:
        """Layers with a state of constant size in place of a cache."""
        return self.layers - self.attention_layers

    @property
    def embedding(self) -> int:
        """Parameters of the embeddings, of which a token reads one row."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters, without a multi-token-prediction layer."""
        return self._always + self.expert_parameters

    @property
    def active_parameters(self) -> int:
        """Parameters that work on one token: all but the experts that it does not use."""
        return self._always + self._sparse_layers * self.experts_used * self._expert

    @property
    def expert_parameters(self) -> int:
        """Parameters of the routed experts: what can stay in system memory."""
        return self._sparse_layers * self.experts * self._expert

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of a token in a 16-bit key-value cache of all layers."""
        row = self.kv_rank + self.rope_length
        if not self.kv_rank:
            row = 2 * self.kv_heads * self.head_length
        return self.attention_layers * row * _CACHE_BYTES

    @property
    def state_bytes(self) -> int:
        """Bytes of one sequence's linear state, in float32; 0 without linear layers."""
        state = self.heads * self.head_length**2
        shifted = max(self.convolution - 1, 0) * 3 * self.heads * self.head_length
        return self.linear_layers * (state + shifted) * _STATE_BYTES

    @property
    def _sparse_layers(self) -> int:
        return self.layers - self.dense_layers

    @property
    def _expert(self) -> int:
        return 3 * self.hidden * self.expert_length

    @property
    def _always(self) -> int:
        """Parameters that every token uses."""
        router = self.hidden * self.experts + self.experts
        sparse = self.shared_experts * self._expert + router
        blocks = self.dense_layers * 3 * self.hidden * self.dense_length
        blocks += self._sparse_layers * sparse
        blocks += self.attention_layers * (self._latent if self.kv_rank else self._grouped)
        blocks += self.linear_layers * self._linear
        norms = (2 * self.layers + 1) * self.hidden
        return blocks + norms + self.embedding * (1 if self.tied else 2)

    @property
    def _grouped(self) -> int:
        rows = (self.heads + 2 * self.kv_heads) * self.head_length
        bias = rows if self.qkv_bias else 0
        norm = 2 * self.head_length if self.qk_norm else 0
        return self.hidden * rows + bias + norm + self.heads * self.head_length * self.hidden

    @property
    def _latent(self) -> int:
        query = self.heads * (self.head_length + self.rope_length)
        down = self.q_rank * (self.hidden + query) if self.q_rank else self.hidden * query
        key = self.hidden * (self.kv_rank + self.rope_length)
        up = self.kv_rank * self.heads * 2 * self.head_length
        return down + key + up + self.heads * self.head_length * self.hidden

    @property
    def _linear(self) -> int:
        width = self.heads * self.head_length
        # Query, key, value, gate and output; KDA has a second gate and a step size for each head.
        matrices = 5 if self.linear == "lightning" else 6
        small = 3 * width * self.convolution + (self.hidden * self.heads if self.convolution else 0)
        return matrices * self.hidden * width + small + width
