"""What a model in one format asks of memory: made from the facts, or from a model file's header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ..backends.gguf import KV_TYPES, GGUFHeader
from ..errors import ConfigurationError
from ..facts import FormatFacts, ModelFacts
from .buffers import (
    Widths,
    compute_buffer,
    server_activations,
    widths_of_header,
    widths_of_shape,
)
from .resident import TOKEN_BYTES, mapped_bytes, state_bytes

BATCH = 512
"""Tokens that llama.cpp evaluates in one go."""

SERVER_BATCH = 8192
"""Tokens that a server evaluates in one step at most: what vLLM and SGLang take on large cards."""

SERVER_KV_TYPES: Mapping[str, float] = {"bf16": 2.0, "f16": 2.0, "fp8": 1.0}
"""Bytes of a number in a server's cache."""

_LLAMA_KV_TYPES: Mapping[str, float] = {name: size / n for name, (size, n) in KV_TYPES.items()}


@dataclass(frozen=True)
class Demand:
    """A model in one format.

    Attributes:
        model: Its name.
        format: Id of the format; of a file its path.
        title: The format, for people.
        weight_low: Bytes of all weights, at least.
        weight_high: Bytes of all weights, at most; what a plan reckons with.
        expert_bytes: Bytes of routed experts by layer, at most.
        input_bytes: Bytes of the embeddings, which llama.cpp keeps in system memory.
        output_bytes: Bytes that llama.cpp puts on the card for them again; 0 where it does not.
        kv_numbers: Numbers that one token takes in the cache of all layers.
        state_bytes: Bytes of one sequence's linear state.
        read_bytes: Bytes of weights that are read for a token, experts not counted, at least.
        read_experts: Bytes of experts that are read for a token, at least.
        widths: For the working buffers.
        native_context: Tokens; 0 where it is not known.
        max_context: Tokens with YaRN; 0 where it is not known.
        servers: What runs it.
        capability: Least compute capability of an NVIDIA card.
        note: What to know.
    """

    model: str
    format: str
    title: str
    weight_low: int
    weight_high: int
    expert_bytes: tuple[int, ...]
    input_bytes: int
    output_bytes: int
    kv_numbers: int
    state_bytes: int
    read_bytes: int
    read_experts: int
    widths: Widths
    native_context: int
    max_context: int
    servers: tuple[str, ...]
    capability: float = 0.0
    note: str = ""

    @property
    def is_gguf(self) -> bool:
        """Whether llama.cpp runs it, and so experts may stay in system memory."""
        return "llama.cpp" in self.servers

    @cached_property
    def expert_total(self) -> int:
        """Bytes of all routed experts."""
        return sum(self.expert_bytes)

    def kv_bytes(self, kv_type: str) -> float:
        """Bytes of a token in the cache of all layers.

        Raises:
            ConfigurationError: The format's servers have no such type of cache.
        """
        types = _LLAMA_KV_TYPES if self.is_gguf else SERVER_KV_TYPES
        kind = "f16" if self.is_gguf and kv_type == "bf16" else kv_type
        if kind not in types:
            raise ConfigurationError(
                f"{self.title} has no cache of type {kv_type!r}; it has: {', '.join(types)}"
            )
        return self.kv_numbers * types[kind]

    def buffers(self, context: int, concurrency: int, *, cards: int) -> int:
        """Bytes of working buffers: on each of the cards, added up."""
        if not self.is_gguf:
            each = server_activations(self.widths, batch=SERVER_BATCH, sequences=concurrency)
            return each * max(cards, 1)
        logits = concurrency * self.widths.vocabulary * 4
        window = -(-context // 256) * 256
        return compute_buffer(self.widths, batch=BATCH, window=window) * max(cards, 1) + logits

    def divides_among(self, cards: int) -> bool:
        """Whether so many cards can share each layer, as vLLM and SGLang do: by its heads."""
        return self.is_gguf or self.widths.heads % max(cards, 1) == 0

    @property
    def tables(self) -> int:
        """Bytes of the vocabulary's tables in system memory."""
        return self.widths.vocabulary * TOKEN_BYTES


def demand_of(model: ModelFacts, format_id: str) -> Demand:
    """What the facts say.

    Raises:
        ConfigurationError: The model is not known in that format.
    """
    found = model.formats.get(format_id)
    if found is None:
        raise ConfigurationError(
            f"{model.title} is not known in {format_id!r}; known: {', '.join(model.formats)}"
        )
    shape = model.shape
    sparse = shape.layers - shape.dense_layers if shape.experts else 0
    experts = round(shape.expert_parameters * found.bits_high / 8)
    each = experts // sparse if sparse else 0
    rows = round(shape.embedding * found.bits_high / 8)
    used = shape.experts_used / shape.experts if shape.experts else 0.0
    always = shape.parameters - shape.expert_parameters
    always -= 0 if shape.tied else shape.embedding
    return Demand(
        model=model.title,
        format=found.id,
        title=found.title,
        weight_low=found.weight_low,
        weight_high=found.weight_high,
        expert_bytes=(0,) * (shape.layers - sparse) + (each,) * sparse,
        input_bytes=rows,
        output_bytes=rows if shape.tied else 0,
        kv_numbers=shape.kv_bytes_per_token // 2,
        state_bytes=shape.state_bytes,
        read_bytes=round(always * found.bits_low / 8),
        read_experts=round(shape.expert_parameters * used * found.bits_low / 8),
        widths=widths_of_shape(shape),
        native_context=model.native_context,
        max_context=model.max_context,
        servers=found.servers,
        capability=found.capability,
        note=_note(model, found),
    )


def demand_of_file(header: GGUFHeader) -> Demand:
    """What a model file's tensors say."""
    weights = mapped_bytes(header)
    experts = header.expert_bytes
    used, count = header.number("expert_used_count"), header.number("expert_count")
    tied = not any(tensor.name == "output.weight" for tensor in header.tensors)
    return Demand(
        model=header.path.name,
        format=str(header.path),
        title="GGUF",
        weight_low=weights,
        weight_high=weights,
        expert_bytes=experts,
        input_bytes=header.input_bytes,
        output_bytes=header.input_bytes if tied else 0,
        kv_numbers=header.kv_bytes("f16") // 2,
        state_bytes=state_bytes(header),
        read_bytes=weights - sum(experts) - (0 if tied else header.input_bytes),
        read_experts=sum(experts) * used // count if count else 0,
        widths=widths_of_header(header),
        native_context=header.context_length,
        max_context=header.context_length,
        servers=("llama.cpp",),
    )


def _note(model: ModelFacts, found: FormatFacts) -> str:
    if "llama.cpp" in found.servers:
        server = model.servers.get("llama.cpp")
        if server is not None and not server.supported:
            return f"llama.cpp: {server.note}"
    return found.note
