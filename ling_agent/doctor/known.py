"""What the facts say about a served model: which one it is, its window, and how fast it can be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .. import facts
from ..backends.gguf import GGUFHeader
from ..errors import ConfigurationError
from ..recipes import yarn
from .advice import DoctorKind

_WORDS = re.compile(r"[-_:]")
_LONGEST_SUFFIX = 3  # of a name: -instruct-gptq-int4
_QUANTIZED = {"awq": "int4", "gptq": "int4"}


def known_model(*names: str) -> facts.ModelFacts | None:
    """The model that is served under one of these names; None when nothing is known about it.

    Args:
        names: What it is served as and where it came from; what follows the model's own name
            (``-fp8``, ``-instruct``) is not heeded.
    """
    for name in names:
        words = _WORDS.split(name.rstrip("/").rpartition("/")[2])
        for count in range(len(words), max(len(words) - _LONGEST_SUFFIX, 1) - 1, -1):
            try:
                return facts.model("-".join(words[:count]))
            except ConfigurationError:
                continue
    return None


def usual_ling() -> facts.ModelFacts:
    """What a Ling is taken for whose name does not say which one it is."""
    return facts.model("ling-2.6-flash")


def known_format(
    model: facts.ModelFacts, names: Sequence[str], quantization: str = "", *, default: str = ""
) -> facts.FormatFacts | None:
    """The format in which it is served, as far as its name or the server tells.

    Args:
        model: Which one.
        names: What it is served as and where it came from.
        quantization: What the server says of it; empty for nothing.
        default: Id of the format where neither tells.

    Returns:
        The format; None where nobody tells, or it is not published.
    """
    text = "_".join([*names, quantization]).lower().replace("-", "_")
    for other, own in _QUANTIZED.items():
        text = text.replace(other, own)
    for name, found in model.formats.items():
        if re.search(rf"(?<![a-z0-9]){name}(?![a-z0-9])", text):
            return found
    return None if quantization else model.formats.get(default)


def yarn_advice(model: facts.ModelFacts, kind: DoctorKind) -> str:
    """How a server is told to stretch the model's window; empty when that is not published."""
    if not model.rope_scaling:
        return ""
    longest = model.max_context
    if kind in ("vllm", "sglang") and (setting := yarn.setting(model, kind)):
        return {
            "vllm": f"vLLM: --max-model-len {longest} --hf-overrides '{setting}'",
            "sglang": f"SGLang: --context-length {longest} --json-model-override-args '{setting}'",
        }[kind]
    return {
        "llama-server": f"llama-server: --rope-scaling yarn --rope-scale {model.yarn_factor:g} "
        f"--yarn-orig-ctx {model.native_context}",
    }.get(
        kind,
        f"YaRN with factor {model.yarn_factor:g} over {model.native_context}, or a window of at "
        f"most {model.native_context}",
    )


@dataclass(frozen=True, slots=True)
class Cards:
    """What a server runs on: so many cards of a kind, which divide the model."""

    card: facts.GpuFacts
    count: int = 1

    def __str__(self) -> str:
        return f"{self.count} x {self.card.title}" if self.count > 1 else self.card.title


@dataclass(frozen=True, slots=True)
class Bound:
    """How fast memory bandwidth lets one answer be generated, at best.

    For each token all weights that work on it are read once from the card's memory. Caches,
    computing and the host take time on top; guessing several tokens at once may beat it.

    Attributes:
        tokens_per_second: The bound.
        how: What it was computed from.
    """

    tokens_per_second: float
    how: str

    def told(self, rate: float) -> str:
        """A measured speed beside the bound."""
        share = rate / self.tokens_per_second
        return (
            f"; memory bandwidth allows {self.tokens_per_second:,.0f} tokens/s at best "
            f"({self.how}), this is {share:.0%} of it"
        )


def served_bound(model: facts.ModelFacts, form: facts.FormatFacts, cards: Cards) -> Bound:
    """Of a model in a format; of embeddings that are not the output only a row is read."""
    weights = model.active_parameters - (0 if model.shape.tied else model.shape.embedding)
    return _bound(weights * form.bits_low / 8, cards, f"{model.title} as {form.title}")


def file_bound(header: GGUFHeader, cards: Cards) -> Bound:
    """Of a model file that is wholly on the card: from the sizes of its tensors."""
    used, experts = header.number("expert_used_count"), header.number("expert_count")
    share = used / experts if experts else 1.0
    routed = sum(header.expert_bytes)
    size = sum(header.layer_bytes) - routed + routed * share + header.output_bytes
    return _bound(size, cards, header.path.name)


def _bound(size: float, cards: Cards, what: str) -> Bound:
    bandwidth = cards.card.bandwidth * cards.count
    how = f"{what} reads {size / 1e9:,.2f} GB a token, {cards} {bandwidth / 1e9:,.0f} GB/s"
    return Bound(bandwidth / size, how)
