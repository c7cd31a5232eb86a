"""llama.cpp in process: load a model, evaluate a prompt, generate tokens. One thread owns it.

The engine speaks llama.cpp's C API through llama-cpp-python's bindings and knows nothing of
messages, tools or event loops. It keeps one sequence in the KV cache; a prompt that begins like the
last one is evaluated from the first token that differs.
"""

from __future__ import annotations

import codecs
import ctypes
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import BackendUnavailable, ConfigurationError, ContextOverflow
from ..extras import require
from ..limits import Sampling
from ..results import Usage
from .gguf import GGUFHeader, read_gguf_header
from .llama_sampling import bias_against, call_openings, create_sampler

_MIN_CONTEXT = 2048
_MIN_ANSWER = 16
_KEPT_CONVERSATIONS = 32
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How a model is loaded; two backends with equal settings share one engine.

    Attributes:
        path: The GGUF file.
        n_ctx: Context window in tokens; None takes the model's own limit, bounded by memory.
        n_gpu_layers: Layers on the GPU; None offloads all of them when the build can.
        n_threads: Threads; None takes the cores that the process may use.
        n_batch: Prompt tokens that are evaluated in one go; a cancel is noticed between two.
    """

    path: Path
    n_ctx: int | None = None
    n_gpu_layers: int | None = None
    n_threads: int | None = None
    n_batch: int = 512


@dataclass(frozen=True, slots=True)
class Generation:
    """The end of one generation: why, and what it cost."""

    finish_reason: Literal["stop", "length"]
    usage: Usage


class LlamaEngine:
    """A loaded model with its KV cache. All methods are called from one thread.

    Raises:
        ConfigurationError: llama-cpp-python is missing, or there is no such file.
        BackendUnavailable: The file cannot be loaded; the message says why.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._lib: Any = require(
            "llama_cpp.llama_cpp", extra="llamacpp", why="the embedded backend"
        )
        self.header = read_gguf_header(settings.path)
        self._settings = settings
        self._log = _capture_log(self._lib)
        self.n_ctx = _choose_context(self.header, settings)
        self._lib.llama_backend_init()
        self._model = self._load_model()
        self.parameters = int(self._lib.llama_model_n_params(self._model))
        self._vocab = self._lib.llama_model_get_vocab(self._model)
        self._context = self._create_context()
        self._in_cache: list[int] = []
        self._call_openings: Any = None
        # Text and tokens of the newest prompts: a prompt that extends one of them is tokenised
        # from there on, so that generated tokens are never re-tokenised from text.
        self._known: OrderedDict[str, tuple[str, list[int]]] = OrderedDict()

    def _load_model(self) -> Any:
        lib, settings = self._lib, self._settings
        params = lib.llama_model_default_params()
        offload = bool(lib.llama_supports_gpu_offload())
        layers = settings.n_gpu_layers
        params.n_gpu_layers = (999 if offload else 0) if layers is None or layers < 0 else layers
        model = lib.llama_model_load_from_file(os.fsencode(settings.path), params)
        if model:
            return model
        reason = self._log.last_error()
        if "unknown model architecture" in reason:
            raise BackendUnavailable(
                f"this llama.cpp does not know the architecture {self.header.architecture!r} of "
                f"{settings.path.name}: mainline runs Ling 1, 2.0 (Ling-mini-2.0, Ling-flash-2.0) "
                "and 3.0, but not Ling 2.5 and 2.6, which vLLM and SGLang serve"
            )
        raise BackendUnavailable(
            f"llama.cpp could not load {settings.path}: {reason or 'no reason given'}"
        )

    def _create_context(self) -> Any:
        lib, settings = self._lib, self._settings
        threads = settings.n_threads or _cores()
        params = lib.llama_context_default_params()
        params.n_ctx = self.n_ctx
        params.n_batch = params.n_ubatch = min(settings.n_batch, self.n_ctx)
        params.n_seq_max = 1
        params.n_threads = params.n_threads_batch = threads
        params.no_perf = True
        context = lib.llama_init_from_model(self._model, params)
        if not context:
            reason = self._log.last_error()
            lib.llama_model_free(self._model)
            raise BackendUnavailable(
                f"no memory for a context of {self.n_ctx:,} tokens "
                f"({self.n_ctx * self.header.kv_bytes_per_token / _GIB:.1f} GiB): "
                f"pass a smaller n_ctx ({reason or 'llama.cpp gave no reason'})"
            )
        return context

    def close(self) -> None:
        """Free the model; the engine cannot be used afterwards."""
        self._lib.llama_free(self._context)
        self._lib.llama_model_free(self._model)

    def tokenize(self, text: str) -> list[int]:
        """Tokens of a text, special tokens recognised, no BOS added."""
        data = text.encode("utf-8", errors="surrogatepass")
        size = len(data) + 8
        buffer = (self._lib.llama_token * size)()
        count = self._lib.llama_tokenize(self._vocab, data, len(data), buffer, size, False, True)
        return list(buffer[:count])

    def stop_tokens(self, texts: tuple[str, ...]) -> frozenset[int]:
        """Ids of those stop texts that are one token; the GGUF's own ones are always honoured."""
        ids = (self.tokenize(text) for text in texts)
        return frozenset(tokens[0] for tokens in ids if len(tokens) == 1)

    def generate(
        self,
        prompt: str,
        sampling: Sampling,
        *,
        stop: frozenset[int],
        cancelled: threading.Event,
        stop_when: Callable[[str], bool] | None = None,
        in_words: bool = False,
        conversation: str = "",
    ) -> Iterator[str | Generation]:
        """Yield pieces of text, then one `Generation`.

        Stopping to iterate, or ``cancelled``, ends it between two tokens; what was evaluated stays
        in the cache and is used by the next prompt that begins alike.

        Args:
            prompt: Rendered text, special tokens included.
            sampling: How tokens are chosen, and how many at most.
            stop: Tokens that end it; the model's own end tokens do, too.
            cancelled: Set by another thread to end it.
            stop_when: Takes each piece; True ends it with that piece.
            in_words: Keep the first token from opening a call or a plan.
            conversation: Under which name the tokens are kept for the next prompt.

        Raises:
            ContextOverflow: Prompt and the shortest answer do not fit.
        """
        started = time.perf_counter()
        tokens = self._prompt_tokens(prompt, conversation)
        limit = min(sampling.max_tokens, self._room(tokens))
        reused = self._reuse(tokens)
        # The last token is evaluated alone, whether the rest came from the cache or not: batches
        # of another size round differently, and a repeated run should give the same answer.
        if not self._evaluate(tokens[reused:-1], cancelled):
            return
        self._evaluate(tokens[-1:], cancelled)
        first = time.perf_counter()
        generated: list[int] = []
        text: list[str] = []
        reason: Literal["stop", "length"] = "length"
        try:
            for token, piece in self._sample(sampling, stop, cancelled, limit, in_words=in_words):
                if token is None:
                    reason = "stop"
                    if piece:
                        yield piece
                    break
                generated.append(token)
                text.append(piece)
                if piece:
                    yield piece
                if stop_when is not None and stop_when(piece):
                    reason = "stop"
                    break
        finally:
            # Pieces with a replacement character are no exact image of their tokens.
            if not any("\ufffd" in piece for piece in text):
                self._remember(conversation, prompt + "".join(text), tokens + generated)
        now = time.perf_counter()
        usage = Usage(
            prompt_tokens=len(tokens),
            completion_tokens=len(generated),
            cached_tokens=reused,
            requests=1,
            seconds=now - started,
            prefill_seconds=first - started,
            decode_seconds=now - first,
        )
        yield Generation(reason, usage)

    def _sample(
        self,
        sampling: Sampling,
        stop: frozenset[int],
        cancelled: threading.Event,
        limit: int,
        *,
        in_words: bool,
    ) -> Iterator[tuple[int | None, str]]:
        """Yield tokens with their text; None as the token when the model ended its answer."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        sampler = create_sampler(self._lib, sampling)
        first = self._words_first_sampler(sampling) if in_words else None
        try:
            for count in range(limit):
                if cancelled.is_set():
                    return
                chain = first if first is not None and count == 0 else sampler
                token = self._lib.llama_sampler_sample(chain, self._context, -1)
                if token in stop or self._lib.llama_vocab_is_eog(self._vocab, token):
                    yield None, decoder.decode(b"", final=True)
                    return
                yield token, decoder.decode(self.piece(token), final=count + 1 == limit)
                if count + 1 < limit:
                    self._evaluate([token], cancelled)
        finally:
            self._lib.llama_sampler_free(sampler)
            if first is not None:
                self._lib.llama_sampler_free(first)

    def _words_first_sampler(self, sampling: Sampling) -> Any:
        n_vocab = self._lib.llama_vocab_n_tokens(self._vocab)
        if self._call_openings is None:
            pieces = [self.piece(token) for token in range(n_vocab)]
            self._call_openings = bias_against(self._lib, call_openings(pieces))
        return create_sampler(self._lib, sampling, bias=self._call_openings, n_vocab=n_vocab)

    def _room(self, tokens: list[int]) -> int:
        """Tokens that are left for the answer."""
        room = self.n_ctx - len(tokens)
        if room < _MIN_ANSWER:
            raise ContextOverflow(
                f"the prompt has {len(tokens):,} tokens and the context window {self.n_ctx:,}: "
                "shorten the task, raise n_ctx or take a model with a longer context",
                prompt_tokens=len(tokens),
                context_window=self.n_ctx,
            )
        return room

    def _prompt_tokens(self, prompt: str, conversation: str) -> list[int]:
        text, tokens = self._known.get(conversation, ("", []))
        if text and prompt.startswith(text):
            return tokens + self.tokenize(prompt[len(text) :])
        return self.tokenize(prompt)

    def _remember(self, conversation: str, text: str, tokens: list[int]) -> None:
        self._known[conversation] = (text, tokens)
        self._known.move_to_end(conversation)
        while len(self._known) > _KEPT_CONVERSATIONS:
            self._known.popitem(last=False)

    def _reuse(self, tokens: list[int]) -> int:
        """Cut the cache back to what it shares with the prompt; return how many tokens that is."""
        shared = 0
        for have, want in zip(self._in_cache, tokens, strict=False):
            if have != want:
                break
            shared += 1
        # The last token is evaluated again: its logits are what the answer is sampled from.
        shared = min(shared, len(tokens) - 1)
        memory = self._lib.llama_get_memory(self._context)
        if shared < len(self._in_cache) and not self._lib.llama_memory_seq_rm(
            memory, 0, shared, -1
        ):
            # Recurrent and hybrid models cannot be cut back.
            self._lib.llama_memory_clear(memory, True)
            shared = 0
        self._in_cache = self._in_cache[:shared]
        return shared

    def _evaluate(self, tokens: list[int], cancelled: threading.Event) -> bool:
        """Evaluate tokens in chunks; False when cancelled on the way."""
        step = self._settings.n_batch
        for start in range(0, len(tokens), step):
            if cancelled.is_set():
                return False
            chunk = tokens[start : start + step]
            buffer = (self._lib.llama_token * len(chunk))(*chunk)
            batch = self._lib.llama_batch_get_one(buffer, len(chunk))
            status = self._lib.llama_decode(self._context, batch)
            if status != 0:
                self._in_cache = []
                self._lib.llama_memory_clear(self._lib.llama_get_memory(self._context), True)
                raise BackendUnavailable(
                    f"llama.cpp failed to evaluate the prompt (status {status}): "
                    f"{self._log.last_error() or 'try a smaller n_ctx or n_batch'}"
                )
            self._in_cache.extend(chunk)
        return True

    def piece(self, token: int) -> bytes:
        """Text of a token as bytes; a character may be spread over several tokens."""
        buffer = ctypes.create_string_buffer(64)
        size = self._lib.llama_token_to_piece(self._vocab, token, buffer, 64, 0, True)
        if size < 0:
            buffer = ctypes.create_string_buffer(-size)
            size = self._lib.llama_token_to_piece(self._vocab, token, buffer, -size, 0, True)
        return buffer.raw[:size]


class _LogCapture:
    """Keeps llama.cpp's last error line; the rest of its log is dropped."""

    def __init__(self) -> None:
        self._errors: list[str] = []

    def __call__(self, level: int, text: bytes, _data: object) -> None:
        if level == 4:  # GGML_LOG_LEVEL_ERROR
            self._errors = [*self._errors[-4:], text.decode("utf-8", "replace").strip()]

    def last_error(self) -> str:
        """The first error since the last call, without llama.cpp's function name."""
        errors, self._errors = self._errors, []
        return errors[0].partition(": ")[2] or errors[0] if errors else ""


_captured: list[tuple[_LogCapture, Callable[..., None]]] = []


def _capture_log(lib: Any) -> _LogCapture:
    if not _captured:
        capture = _LogCapture()
        callback = lib.llama_log_callback(capture)
        lib.llama_log_set(callback, None)
        _captured.append((capture, callback))
    return _captured[0][0]


def _choose_context(header: GGUFHeader, settings: EngineSettings) -> int:
    """The context window in tokens: what was asked for, else the model's limit within memory."""
    available = available_memory()
    per_token = max(header.kv_bytes_per_token, 1)
    limit = header.context_length or 4096
    if settings.n_ctx is not None:
        if settings.n_ctx < 64:
            raise ConfigurationError("n_ctx must be at least 64 tokens")
        return settings.n_ctx
    if available is None or settings.n_gpu_layers not in (None, 0):
        return min(limit, 32768)
    # Weights are mapped, so they count once; a quarter is left to the rest of the machine.
    budget = int(available * 0.75) - header.size
    fits = budget // per_token
    if fits < min(_MIN_CONTEXT, limit):
        needed = (header.size + _MIN_CONTEXT * per_token) / 0.75 / _GIB
        raise BackendUnavailable(
            f"{header.path.name} needs about {needed:.1f} GiB of memory and "
            f"{available / _GIB:.1f} GiB are available: free some, take a smaller model or a "
            "stronger quantisation"
        )
    return int(min(limit, fits))


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory() -> int | None:
    """Bytes that can be taken without swapping; None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        return None
    return None
