"""What a fact is about: a model, one of its formats, a server, a graphics card, a source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from .shape import Shape

How = Literal["read", "computed", "measured", "inferred"]
RopeScaling = Mapping[str, str | int | float]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a number is from.

    Attributes:
        id: Name that entries of the data file use.
        how: ``read`` in a public source, ``computed``, ``measured``, or ``inferred`` from other
            facts and not confirmed.
        title: What it is.
        url: Its address; empty for what was computed or measured here.
    """

    id: str
    how: How
    title: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class FormatFacts:
    """A number format, as one model is published in it.

    Attributes:
        id: For example ``fp8`` or ``q4_k_m``.
        title: For people, ``FP8``.
        repository: Where these weights are; empty where no repository is known: made by oneself.
        bits_low: Bits of a parameter over the whole file, at least.
        bits_high: The same, at most.
        weight_low: Bytes of all weights, at least.
        weight_high: Bytes of all weights, at most; equal to `weight_low` where the file is known.
        servers: What runs the format: ``vllm``, ``sglang``, ``llama.cpp``, ``ollama``.
        capability: Least compute capability of an NVIDIA card for it; 0 for any.
        note: What to know about it.
        sources: Ids of sources by field.
    """

    id: str
    title: str
    repository: str
    bits_low: float
    bits_high: float
    weight_low: int
    weight_high: int
    servers: tuple[str, ...]
    capability: float
    note: str = ""
    sources: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights, at most: what a plan has to reckon with."""
        return self.weight_high

    @property
    def is_gguf(self) -> bool:
        """Whether it is a format of llama.cpp."""
        return "llama.cpp" in self.servers


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """Whether and how a server runs a family of models.

    Attributes:
        name: ``vllm``, ``sglang``, ``llama.cpp`` or ``ollama``.
        supported: Whether its released version does.
        since: Least version; empty where none is known.
        tool_parser: The server's own name of the parser for the family's calls; empty for none.
        flags: Flags that the family needs besides.
        note: What to know.
        source: Id of the source.
    """

    name: str
    supported: bool
    since: str = ""
    tool_parser: str = ""
    flags: tuple[str, ...] = ()
    note: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model.

    Attributes:
        id: For example ``ling-2.6-flash``.
        title: ``Ling-2.6-flash``.
        profile: Its family's name in `ling_agent.profiles`.
        repository: Where the weights are published; empty when none is known.
        aliases: Other names.
        shape: Numbers of its configuration, from which sizes are computed.
        native_context: Tokens of its window as it is.
        max_context: Tokens with YaRN.
        yarn_factor: What YaRN needs for `max_context`; 1.0 where none is needed.
        rope_scaling: What a server is given for it, keys as in the model's configuration; empty
            where it is not published.
        formats: By id, in order of size, the largest first.
        servers: By name.
        stated: What its publisher says, in billions of parameters.
        sources: Ids of sources by field.
    """

    id: str
    title: str
    profile: str
    repository: str
    aliases: tuple[str, ...]
    shape: Shape
    native_context: int
    max_context: int
    yarn_factor: float
    rope_scaling: RopeScaling
    formats: Mapping[str, FormatFacts]
    servers: Mapping[str, ServerFacts]
    stated: Mapping[str, float]
    sources: Mapping[str, str]

    @property
    def parameters(self) -> int:
        """All parameters, without a multi-token-prediction layer."""
        return self.shape.parameters

    @property
    def active_parameters(self) -> int:
        """Parameters that work on one token."""
        return self.shape.active_parameters

    @property
    def expert_parameters(self) -> int:
        """Parameters of the routed experts: what can stay in system memory."""
        return self.shape.expert_parameters

    @property
    def layers(self) -> int:
        """Transformer layers."""
        return self.shape.layers

    @property
    def hidden(self) -> int:
        """Length of the residual stream."""
        return self.shape.hidden

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of a token in a 16-bit key-value cache of all layers."""
        return self.shape.kv_bytes_per_token

    @property
    def state_bytes(self) -> int:
        """Bytes of one sequence's linear state; 0 without linear layers."""
        return self.shape.state_bytes


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """A graphics card.

    Attributes:
        id: For example ``rtx-4090``.
        title: ``RTX 4090``.
        aliases: Other names.
        memory_bytes: What its driver calls its total memory.
        bandwidth: Bytes a second that it reads from its memory at best.
        compute_capability: NVIDIA's, for example 8.9.
        sources: Ids of sources by field.
    """

    id: str
    title: str
    aliases: tuple[str, ...]
    memory_bytes: int
    bandwidth: int
    compute_capability: float
    sources: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Claim:
    """That a model fits, as a page of somebody else says; arithmetic refutes it."""

    model: str
    format: str
    gpu: str
    gpus: int
    source: str
