"""What the embedded engine keeps in a CPU's memory, from a model file's header alone.

Counted is what is resident after the whole window was filled once: weights, which are mapped from
the file and stay in memory as long as nothing else needs it; those matrices that llama.cpp copies
into an order that the processor likes better; caches, states, working buffers; and the vocabulary's
tables. Python and its modules are not counted.

Of a matrix that was copied the mapped one is resident, too, but it is not read again: under
pressure the system drops it. So less is needed than is resident, and a plan counts weights once.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from ..backends.gguf import GGUFHeader
from .buffers import Widths, compute_buffer, multiply_buffer, widths_of_header

_STEP = 256  # llama.cpp pads a window to a multiple of it
_FLOAT = 4

# ggml's numbers of the types whose matrices it copies, by what the processor has to offer.
_Q4_0, _Q2_K, _Q4_K, _IQ4_NL = 2, 10, 12, 20
_REPACKED = {"avx2": {_Q4_0, _Q4_K, _IQ4_NL}, "avx512f": {_Q2_K}, "asimd": {_Q4_0, _Q4_K, _IQ4_NL}}
_ROWS = 8  # of a repacked block

TOKEN_BYTES = 64 + 8 + 40 + 32 + 96 + 8
"""Bytes of a token in llama.cpp's vocabulary.

It is an entry of a hash table (a node with text, id and hash, in malloc's chunks: 64; a bucket: 8),
of the list of tokens (text, score, kind: 40) and of the list of pieces (32). Nearly each has a
merge: a node with two texts (96) and a bucket (8).
"""

# Graph and scheduler are made for the largest graph; then there are threads and code pages.
_RUNTIME_BYTES = 7 << 20


@dataclass(frozen=True, slots=True)
class Resident:
    """Bytes in memory.

    Attributes:
        mapped: Weights, mapped from the file.
        repacked: Copies of those that are computed with in another order.
        cache: Key-value caches of all conversations.
        state: Recurrent states of all conversations.
        compute: llama.cpp's compute buffer.
        multiply: Rows in 8 bits, for quantised matrices.
        logits: What comes out.
        vocabulary: Tables of tokens and merges.
        runtime: Graph, scheduler, threads, code.
    """

    mapped: int
    repacked: int
    cache: int
    state: int
    compute: int
    multiply: int
    logits: int
    vocabulary: int
    runtime: int = _RUNTIME_BYTES

    @property
    def total(self) -> int:
        """All of it."""
        return self.mapped + self.repacked + self.cache + self.state + self.buffers

    @property
    def buffers(self) -> int:
        """All but weights, caches and states."""
        return self.compute + self.multiply + self.logits + self.vocabulary + self.runtime


def resident(
    header: GGUFHeader,
    *,
    n_ctx: int,
    n_parallel: int = 1,
    n_batch: int = 512,
    kv_type: str = "f16",
    flash_attention: bool = True,
    features: frozenset[str] | None = None,
) -> Resident:
    """What a model takes of the system's memory, in the embedded engine on a CPU.

    Args:
        header: The model's.
        n_ctx: Window of each conversation.
        n_parallel: Conversations.
        n_batch: Prompt tokens that are evaluated in one go.
        kv_type: Type of the key-value cache.
        flash_attention: False where it is switched off.
        features: What the processor offers, as Linux names it; None asks this machine.

    Raises:
        ConfigurationError: There is no such ``kv_type``.
    """
    widths = widths_of_header(header)
    window = -(-n_ctx // _STEP) * _STEP
    batch = max(n_batch, n_parallel)
    # llama.cpp never evaluates more at once than the context holds.
    batch = min(batch, window * n_parallel)
    return Resident(
        mapped=mapped_bytes(header),
        repacked=repacked_bytes(header, features),
        cache=header.kv_bytes(kv_type) * window * n_parallel,
        state=state_bytes(header) * n_parallel,
        compute=compute_buffer(widths, batch=batch, window=window, flash_attention=flash_attention),
        multiply=multiply_buffer(widths, batch=batch),
        logits=n_parallel * widths.vocabulary * _FLOAT,
        vocabulary=_tables(widths),
    )


def mapped_bytes(header: GGUFHeader) -> int:
    """Bytes of all tensors; of the file, where its header names none."""
    return sum(tensor.size for tensor in header.tensors) or header.size


def repacked_bytes(header: GGUFHeader, features: frozenset[str] | None = None) -> int:
    """Bytes of matrices of which llama.cpp makes a copy in another order, on this processor.

    The embeddings are read by row and are not among them.
    """
    offered = cpu_features() if features is None else features
    types = {kind for name, kinds in _REPACKED.items() if name in offered for kind in kinds}
    return sum(
        tensor.size
        for tensor in header.tensors
        if tensor.type in types
        and len(tensor.shape) > 1
        and tensor.shape[1] % _ROWS == 0
        and not tensor.name.startswith("token_embd.")
    )


def state_bytes(header: GGUFHeader) -> int:
    """Bytes of one conversation's recurrent state; 0 for attention in all layers.

    After llama.cpp: in each recurrent layer the state of a state-space model, and the last inputs
    of its convolution, in float32; with Kimi delta attention a square for each head.
    """
    layers = sum(1 for size in header.kv_bytes_by_layer() if not size)
    inner, size = header.number("ssm.inner_size"), header.number("ssm.state_size")
    shifted = max(header.number("ssm.conv_kernel") - 1, 0)
    head = header.number("kda.head_dim")
    if head:
        width = max(header.by_layer("attention.head_count", 1), default=1) * head
        return layers * (width * head + shifted * 3 * width) * _FLOAT
    groups = header.number("ssm.group_count")
    return layers * (inner * size + shifted * (inner + 2 * groups * size)) * _FLOAT


def cpu_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """What this processor offers, in Linux's names; a guess by its kind where Linux is not."""
    try:
        for line in cpuinfo.read_text("utf-8", "replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return frozenset(value.split())
    except OSError:
        pass
    return frozenset({"asimd"} if platform.machine() in ("arm64", "aarch64") else {"avx2"})


def _tables(widths: Widths) -> int:
    return widths.vocabulary * TOKEN_BYTES
