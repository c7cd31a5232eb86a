"""`LoadedModel`: the weights and a context whose cache is divided into streams.

The only module that calls llama.cpp to compute. A stream is what a sequence id holds; the tokens in
it are counted by the caller. Everything here runs in the engine's thread.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import BackendUnavailable
from ...extras import require
from ..gguf import GGUFHeader, read_gguf_header
from .devices import GPU, experts_on_cpu, gpus, together
from .fit import Context, choose_context, gpu_context, what_fits
from .llama_log import capture_log
from .settings import GGML_TYPES, EngineSettings
from .snapshots import Bytes
from .system_memory import available_memory
from .vocabulary import Vocabulary

_ALL_LAYERS = 999
_FLASH_ATTENTION = {None: -1, False: 0, True: 1}  # LLAMA_FLASH_ATTN_TYPE_
_PARTIAL = 1  # LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY: what a recurrent model cannot be cut back to
_OUT_OF_MEMORY = ("out of memory", "unable to allocate", "failed to allocate")


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens of one sequence that are evaluated together.

    Attributes:
        stream: The sequence id.
        position: Of the first token.
        tokens: At least one.
        wants_logits: Whether the logits behind the last one are needed.
    """

    stream: int
    position: int
    tokens: Sequence[int]
    wants_logits: bool = True


class LoadedModel:
    """A model in memory. All methods are called from one thread.

    Raises:
        ConfigurationError: llama-cpp-python is missing, or there is no such file.
        BackendUnavailable: The file cannot be loaded; the message says why, and what would fit.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self.lib: Any = require("llama_cpp.llama_cpp", extra="llamacpp", why="the embedded backend")
        self.header: GGUFHeader = read_gguf_header(settings.path)
        self.settings = settings
        self._log = capture_log(self.lib)
        self.lib.llama_backend_init()
        self.gpu: GPU | None = together(gpus(self.lib)) if self._layers else None
        self.size: Context = self._choose_size()
        self._model = self._load()
        self.parameters = int(self.lib.llama_model_n_params(self._model))
        self.vocabulary = Vocabulary(self.lib, self.lib.llama_model_get_vocab(self._model))
        self.can_be_cut = not (
            self.lib.llama_model_is_recurrent(self._model)
            or self.lib.llama_model_is_hybrid(self._model)
        )
        self._context = self._create_context()
        self._memory = self.lib.llama_get_memory(self._context)
        self._batch = self.lib.llama_batch_init(self.batch_size, 0, 1)

    @property
    def n_ctx(self) -> int:
        """Context window of each stream, in tokens."""
        return self.size.n_ctx

    @property
    def n_parallel(self) -> int:
        """Number of streams."""
        return self.size.n_parallel

    @property
    def batch_size(self) -> int:
        """Tokens of one batch at most."""
        return max(self.settings.n_batch, self.n_parallel)

    def close(self) -> None:
        """Free everything; the model cannot be used afterwards."""
        self.lib.llama_batch_free(self._batch)
        self.lib.llama_free(self._context)
        self.lib.llama_model_free(self._model)

    # -- computing ----------------------------------------------------------------------------

    def evaluate(self, pieces: Sequence[Piece]) -> None:
        """Compute tokens of one or several sequences in one batch.

        Raises:
            BackendUnavailable: llama.cpp failed; the streams of these pieces are empty then.
        """
        count = self._fill(pieces)
        self._batch.n_tokens = count
        status = self.lib.llama_decode(self._context, self._batch)
        if status == 0:
            return
        reason = "; ".join(self._log.take_errors()[:1])
        for piece in pieces:
            self.clear(piece.stream)
        raise BackendUnavailable(
            f"llama.cpp failed to evaluate {count:,} tokens (status {status}): "
            f"{reason or 'try a smaller n_ctx or n_batch'}"
        )

    def _fill(self, pieces: Sequence[Piece]) -> int:
        batch, at = self._batch, 0
        for piece in pieces:
            for offset, token in enumerate(piece.tokens):
                batch.token[at] = token
                batch.pos[at] = piece.position + offset
                batch.n_seq_id[at] = 1
                batch.seq_id[at][0] = piece.stream
                batch.logits[at] = 0
                at += 1
            batch.logits[at - 1] = piece.wants_logits
        return at

    def logits(self, row: int) -> NDArray[np.float32]:
        """The logits behind a token of the newest batch, [vocabulary]; valid until the next one.

        Args:
            row: Index of the token in the batch.
        """
        pointer = self.lib.llama_get_logits_ith(self._context, row)
        return np.ctypeslib.as_array(pointer, shape=(self.vocabulary.size,))

    # -- streams ------------------------------------------------------------------------------

    def clear(self, stream: int) -> None:
        """Empty a stream."""
        self.lib.llama_memory_seq_rm(self._memory, stream, -1, -1)

    def cut(self, stream: int, length: int) -> bool:
        """Drop what is behind the first ``length`` tokens; False where the model cannot."""
        return bool(self.lib.llama_memory_seq_rm(self._memory, stream, length, -1))

    def read_state(self, stream: int, *, partial: bool = False) -> Bytes | None:
        """The state of a stream as bytes; None when llama.cpp cannot give it.

        Args:
            stream: The sequence id.
            partial: Only what a model that cannot be cut back needs to be set back.
        """
        flags = _PARTIAL if partial else 0
        size = self.lib.llama_state_seq_get_size_ext(self._context, stream, flags)
        if not size:
            return None
        data = np.empty(size, np.uint8)
        pointer = data.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        written = self.lib.llama_state_seq_get_data_ext(self._context, pointer, size, stream, flags)
        return data if written == size else None

    def write_state(self, stream: int, data: Bytes, *, partial: bool = False) -> bool:
        """Give a stream a state; it is empty when False is returned."""
        if not partial:
            self.clear(stream)
        pointer = data.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        flags = _PARTIAL if partial else 0
        read = self.lib.llama_state_seq_set_data_ext(
            self._context, pointer, data.nbytes, stream, flags
        )
        if read:
            return True
        self._log.take_errors()  # or the next failure would be told with this one's reason
        self.clear(stream)
        return False

    # -- loading ------------------------------------------------------------------------------

    @property
    def _layers(self) -> int:
        layers = self.settings.n_gpu_layers
        return _ALL_LAYERS if layers is None or layers < 0 else layers

    def _choose_size(self) -> Context:
        settings = self.settings
        if self.gpu is None:
            return choose_context(
                self.header,
                n_ctx=settings.n_ctx,
                n_parallel=settings.n_parallel,
                budget=available_memory(),
                kv_type=settings.kv_type,
            )
        return gpu_context(
            self.header,
            n_ctx=settings.n_ctx,
            n_parallel=settings.n_parallel,
            kv_type=settings.kv_type,
            free=self.gpu.free,
            n_gpu_layers=settings.n_gpu_layers,
            n_cpu_moe=settings.n_cpu_moe,
        )

    def _load(self) -> Any:
        lib, settings = self.lib, self.settings
        params = lib.llama_model_default_params()
        params.n_gpu_layers = self._layers if self.gpu is not None else 0
        overrides = experts_on_cpu(lib, settings.n_cpu_moe) if settings.n_cpu_moe else None
        if overrides is not None:
            params.tensor_buft_overrides = ctypes.cast(overrides, ctypes.c_void_p).value
        model = lib.llama_model_load_from_file(os.fsencode(settings.path), params)
        if model:
            return model
        errors = self._log.take_errors()
        reason = errors[0] if errors else ""
        if "unknown model architecture" in reason:
            raise BackendUnavailable(
                f"this llama.cpp does not know the architecture {self.header.architecture!r} of "
                f"{settings.path.name}: mainline runs Ling 1, 2.0 (Ling-mini-2.0, Ling-flash-2.0) "
                "and 3.0, but not Ling 2.5 and 2.6, which vLLM and SGLang serve"
            )
        self._explain_memory(errors)
        raise BackendUnavailable(
            f"llama.cpp could not load {settings.path}: {reason or 'no reason given'}"
        )

    def _create_context(self) -> Any:
        lib, settings, size = self.lib, self.settings, self.size
        params = lib.llama_context_default_params()
        params.n_ctx = size.n_ctx * size.n_parallel
        params.n_seq_max = params.n_outputs_max = size.n_parallel
        params.kv_unified = False
        params.n_batch = params.n_ubatch = self.batch_size
        params.n_threads = params.n_threads_batch = settings.threads
        params.type_k = params.type_v = GGML_TYPES[settings.kv_type]
        params.flash_attn_type = _FLASH_ATTENTION[settings.flash_attention]
        params.no_perf = True
        context = lib.llama_init_from_model(self._model, params)
        if context:
            return context
        errors = self._log.take_errors()
        lib.llama_model_free(self._model)
        self._explain_memory(errors)
        each = self.header.kv_bytes(settings.kv_type) * size.n_ctx
        raise BackendUnavailable(
            f"no memory for {size.n_parallel} contexts of {size.n_ctx:,} tokens "
            f"({size.n_parallel * each / (1 << 30):.1f} GiB): "
            f"pass a smaller n_ctx or n_parallel ({errors[0] if errors else 'no reason given'})"
        )

    def _explain_memory(self, errors: Sequence[str]) -> None:
        """Raise with what would fit, when that is what llama.cpp failed for."""
        text = " ".join(errors).lower()
        if self.gpu is None or not any(words in text for words in _OUT_OF_MEMORY):
            return
        answer = what_fits(
            self.header,
            free=self.gpu.free,
            n_ctx=self.size.n_ctx,
            n_parallel=self.size.n_parallel,
            kv_type=self.settings.kv_type,
            n_gpu_layers=self.settings.n_gpu_layers,
            n_cpu_moe=self.settings.n_cpu_moe,
        )
        raise BackendUnavailable(f"{self.header.path.name} does not fit {self.gpu.name}: {answer}")
