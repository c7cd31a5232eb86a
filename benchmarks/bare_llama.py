"""A loop on llama-cpp-python's low-level API with nothing around it: the engine is held against it.

One context, one sequence, llama.cpp's own samplers, no text: tokens in, tokens out.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as _llama_cpp
from llama_cpp import LlamaGrammar

_lib: Any = _llama_cpp


class BareLoop:
    """A model of its own.

    Args:
        path: The GGUF file.
        n_ctx: Context window in tokens.
        n_batch: Prompt tokens in one go.
        n_threads: CPU threads.
    """

    def __init__(self, path: Path, *, n_ctx: int, n_batch: int, n_threads: int) -> None:
        params = _lib.llama_model_default_params()
        params.n_gpu_layers = 999 if _lib.llama_supports_gpu_offload() else 0
        self._model = _lib.llama_model_load_from_file(str(path).encode(), params)
        self._vocab = _lib.llama_model_get_vocab(self._model)
        context = _lib.llama_context_default_params()
        context.n_ctx, context.n_batch, context.n_ubatch = n_ctx, n_batch, n_batch
        context.n_threads = context.n_threads_batch = n_threads
        context.no_perf = True
        self._n_batch = n_batch
        self._context = _lib.llama_init_from_model(self._model, context)

    def close(self) -> None:
        """Free it."""
        _lib.llama_free(self._context)
        _lib.llama_model_free(self._model)

    def prefill(self, tokens: Sequence[int]) -> None:
        """Evaluate a prompt from nothing."""
        _lib.llama_memory_clear(_lib.llama_get_memory(self._context), True)
        for start in range(0, len(tokens), self._n_batch):
            self._decode(tokens[start : start + self._n_batch])

    def free(self, count: int) -> float:
        """Seconds for so many greedy tokens."""
        return self._sample(self._chain(), count)

    def given(self, tokens: Sequence[int]) -> float:
        """Seconds for these tokens, each of them sampled first and then set to what it is to be."""
        chain = self._chain()
        started = time.perf_counter()
        for token in tokens[:-1]:
            _lib.llama_sampler_sample(chain, self._context, -1)
            self._decode([token])
        _lib.llama_sampler_sample(chain, self._context, -1)
        seconds = time.perf_counter() - started
        _lib.llama_sampler_free(chain)
        return seconds

    def with_grammar(self, schema: str, most: int) -> tuple[int, float]:
        """Tokens and seconds under llama-cpp-python's own grammar of a JSON schema."""
        grammar: Any = LlamaGrammar.from_json_schema(schema, verbose=False)
        text = grammar._grammar.encode()
        chain = self._chain(_lib.llama_sampler_init_grammar(self._vocab, text, b"root"))
        count, started = 0, time.perf_counter()
        while count < most:
            token = _lib.llama_sampler_sample(chain, self._context, -1)
            if _lib.llama_vocab_is_eog(self._vocab, token):
                break
            count += 1
            self._decode([token])
        seconds = time.perf_counter() - started
        _lib.llama_sampler_free(chain)
        return count, seconds

    def _chain(self, *samplers: Any) -> Any:
        chain = _lib.llama_sampler_chain_init(_lib.llama_sampler_chain_default_params())
        for sampler in (*samplers, _lib.llama_sampler_init_greedy()):
            _lib.llama_sampler_chain_add(chain, sampler)
        return chain

    def _sample(self, chain: Any, count: int) -> float:
        started = time.perf_counter()
        for index in range(count):
            token = _lib.llama_sampler_sample(chain, self._context, -1)
            if index + 1 < count:
                self._decode([token])
        seconds = time.perf_counter() - started
        _lib.llama_sampler_free(chain)
        return seconds

    def _decode(self, tokens: Sequence[int]) -> None:
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        if _lib.llama_decode(self._context, _lib.llama_batch_get_one(array, len(tokens))):
            raise RuntimeError("llama.cpp failed")
