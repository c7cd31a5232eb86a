"""Samplers of llama.cpp from our `Sampling`, and what an answer in words must not begin with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..limits import Sampling

_PENALTY_WINDOW = 64
_CALL_OPENING = re.compile(rb"\s*([\[{`<]|plan\b|tool\b)", re.IGNORECASE)


def create_sampler(lib: Any, sampling: Sampling, *, bias: Any = None, n_vocab: int = 0) -> Any:
    """A sampler chain; the caller frees it with ``llama_sampler_free``.

    Args:
        lib: The ``llama_cpp`` bindings.
        sampling: Temperature 0 is greedy; the order is that of llama.cpp's own tools.
        bias: Array made by `bias_against`, applied first; None for none.
        n_vocab: Size of the vocabulary; needed with ``bias``.
    """
    chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())

    def add(sampler: Any) -> None:
        lib.llama_sampler_chain_add(chain, sampler)

    if bias is not None:
        add(lib.llama_sampler_init_logit_bias(n_vocab, len(bias), bias))
    if sampling.repetition_penalty != 1.0:
        penalty = sampling.repetition_penalty
        add(lib.llama_sampler_init_penalties(_PENALTY_WINDOW, penalty, 0.0, 0.0))
    if sampling.temperature == 0.0:
        add(lib.llama_sampler_init_greedy())
        return chain
    if sampling.top_k:
        add(lib.llama_sampler_init_top_k(sampling.top_k))
    if sampling.top_p < 1.0:
        add(lib.llama_sampler_init_top_p(sampling.top_p, 1))
    if sampling.min_p:
        add(lib.llama_sampler_init_min_p(sampling.min_p, 1))
    add(lib.llama_sampler_init_temp(sampling.temperature))
    add(lib.llama_sampler_init_dist(sampling.seed))
    return chain


def bias_against(lib: Any, tokens: Sequence[int]) -> Any:
    """An array for `create_sampler` that rules the tokens out."""
    array = (lib.llama_logit_bias * len(tokens))()
    for entry, token in zip(array, tokens, strict=True):
        entry.token, entry.bias = token, float("-inf")
    return array


def call_openings(pieces: Sequence[bytes]) -> list[int]:
    """Tokens with which a call, a fence or another plan would begin.

    Args:
        pieces: Text of every token, by id.
    """
    return [token for token, piece in enumerate(pieces) if _CALL_OPENING.match(piece)]
