"""`LlamaCppBackend`: a GGUF model in this process, on one GPU or the CPU.

Data flow: messages -> `hermes.render` (text) -> engine thread (tokens, generation) -> pieces of
text -> the caller's event loop. The engine runs in one dedicated thread and serves requests in
order; backends with equal settings share it, so that a model is loaded once per process.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import queue
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread

from ..errors import BackendError, BackendUnavailable
from ..hermes import render
from ..messages import to_openai
from ..profiles import Profile, get_profile, profile_for_gguf
from .base import Backend, Chunk, Finished, ModelInfo, ModelRequest, TextChunk
from .llama_engine import EngineSettings, Generation, LlamaEngine

T = TypeVar("T")


class LlamaCppBackend(Backend):
    """A model file run by llama.cpp in this process.

    Args:
        model: An alias of the catalogue (downloaded when it is missing) or a path to a ``.gguf``.
        n_ctx: Context window in tokens; the default is the model's own limit, bounded by memory.
        n_gpu_layers: Layers on the GPU; the default is all of them when llama.cpp was built for
            one, else none.
        n_threads: CPU threads; the default is the number of cores that the process may use.
        profile: Name of a profile, or a `Profile`; the default is read from the file.

    Nothing is loaded before the first request.
    """

    renders_prompts = True

    def __init__(
        self,
        model: str,
        *,
        n_ctx: int | None = None,
        n_gpu_layers: int | None = None,
        n_threads: int | None = None,
        profile: str | Profile | None = None,
    ) -> None:
        self._model = model
        self._options: dict[str, int | None] = {
            "n_ctx": n_ctx,
            "n_gpu_layers": n_gpu_layers,
            "n_threads": n_threads,
        }
        self._profile = get_profile(profile) if isinstance(profile, str) else profile
        self._thread: EngineThread | None = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return f"llamacpp:{self._model}"

    async def describe(self) -> ModelInfo:
        engine = await self._engine()
        header, n_ctx, parameters = await self._submit(
            engine, lambda e: (e.header, e.n_ctx, e.parameters)
        )
        profile = self._profile
        if profile is None:
            text = {k: v for k, v in header.metadata.items() if isinstance(v, str)}
            profile = profile_for_gguf(text)
        notes: tuple[str, ...] = ()
        if 0 < n_ctx < header.context_length:
            notes = (f"context window {n_ctx:,} of the model's {header.context_length:,} tokens",)
        return ModelInfo(Path(header.path).stem, n_ctx, profile, notes, parameters)

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Chunk], None]:
        info = await self.describe()
        engine = await self._engine()
        prompt = render(
            [to_openai(message) for message in request.messages],
            request.tools or None,
            template=info.profile.template,
        )
        loop = anyio.lowlevel.current_token()
        send, receive = anyio.create_memory_object_stream[Chunk | BaseException](math.inf)

        def deliver(item: Chunk | BaseException) -> None:
            anyio.from_thread.run_sync(send.send_nowait, item, token=loop)

        job = _Job(request, prompt + request.prefill, info.profile, deliver)
        engine.put(job)
        try:
            with send, receive:
                async with aclosing(_chunks(receive, request.prefill)) as chunks:
                    yield chunks
        finally:
            job.cancelled.set()

    async def count_tokens(self, text: str) -> int | None:
        engine = await self._engine()
        return await self._submit(engine, lambda e: len(e.tokenize(text)))

    async def aclose(self) -> None:
        """Let go of the model; it is freed when no other backend uses it."""
        with self._lock:
            self._thread = None

    async def _engine(self) -> EngineThread:
        if self._thread is None:
            self._thread = await anyio.to_thread.run_sync(self._open, abandon_on_cancel=True)
        return self._thread

    def _open(self) -> EngineThread:
        from ..catalog import resolve

        settings = EngineSettings(resolve(self._model), **self._options)  # pyright: ignore[reportArgumentType]
        return EngineThread.shared(settings)

    async def _submit(self, engine: EngineThread, work: Callable[[LlamaEngine], T]) -> T:
        future: Future[T] = Future()
        engine.put(_Work(work, future))
        return await anyio.to_thread.run_sync(future.result, abandon_on_cancel=True)


async def _chunks(
    receive: anyio.abc.ObjectReceiveStream[Chunk | BaseException], prefill: str
) -> AsyncGenerator[Chunk, None]:
    if prefill:
        yield TextChunk(prefill)
    async for item in receive:
        if isinstance(item, BaseException):
            raise item
        yield item
        if isinstance(item, Finished):
            return


@dataclass(slots=True)
class _Job:
    """One generation for the engine thread; ``deliver`` is called for each piece."""

    request: ModelRequest
    prompt: str
    profile: Profile
    deliver: Callable[[Chunk | BaseException], None]
    cancelled: threading.Event = field(default_factory=threading.Event)

    def run(self, engine: LlamaEngine) -> None:
        if self.cancelled.is_set():
            return
        try:
            self._generate(engine)
        except BackendError as error:
            self._deliver(error)
        except Exception as error:  # a defect here must reach the caller, not kill the thread
            self._deliver(BackendUnavailable(f"the embedded engine failed: {error!r}"))

    def _generate(self, engine: LlamaEngine) -> None:
        stop = engine.stop_tokens(self.profile.stop)
        for item in engine.generate(
            self.prompt,
            self.request.sampling,
            stop=stop,
            cancelled=self.cancelled,
            stop_when=self.request.stop_when,
            in_words=self.request.tool_choice == "none",
            conversation=self.request.conversation,
        ):
            if isinstance(item, Generation):
                self._deliver(Finished(item.finish_reason, item.usage))
            else:
                self._deliver(TextChunk(item))

    def _deliver(self, item: Chunk | BaseException) -> None:
        try:
            self.deliver(item)
        except Exception:  # the reader is gone: its loop has ended or its stream is closed
            self.cancelled.set()

    def fail(self, error: BaseException) -> None:
        self._deliver(error)


@dataclass(slots=True)
class _Work:
    """A short question to the engine, answered through a future."""

    work: Callable[[LlamaEngine], Any]
    future: Future[Any]

    def run(self, engine: LlamaEngine) -> None:
        try:
            self.future.set_result(self.work(engine))
        except BaseException as error:
            self.future.set_exception(error)

    def fail(self, error: BaseException) -> None:
        self.future.set_exception(error)


_Queue = queue.SimpleQueue[_Job | _Work | None]


class EngineThread:
    """The thread that owns one engine; it ends when nobody refers to this object any more."""

    _shared: ClassVar[weakref.WeakValueDictionary[EngineSettings, EngineThread]] = (
        weakref.WeakValueDictionary()
    )
    _shared_lock = threading.Lock()

    def __init__(self, settings: EngineSettings) -> None:
        # The thread must not refer to this object: it lives as long as somebody else does.
        self._worker = _Worker(settings)
        finalizer = weakref.finalize(self, self._worker.queue.put, None)
        finalizer.atexit = False  # _end_all does more

    @classmethod
    def shared(cls, settings: EngineSettings) -> EngineThread:
        """The engine of these settings: loaded once per process."""
        with cls._shared_lock:
            engine = cls._shared.get(settings)
            if engine is None:
                engine = cls._shared[settings] = cls(settings)
            return engine

    def put(self, item: _Job | _Work) -> None:
        """Queue something; items are served in order."""
        self._worker.queue.put(item)


class _Worker:
    """What the engine's thread works with."""

    running: ClassVar[set[_Worker]] = set()

    def __init__(self, settings: EngineSettings) -> None:
        self.queue: _Queue = queue.SimpleQueue()
        self._settings = settings
        self._current: _Job | _Work | None = None
        self._ending = False
        self._thread = threading.Thread(target=self._serve, name="ling-agent-engine", daemon=True)
        self.running.add(self)
        self._thread.start()

    def _serve(self) -> None:
        """Load on the first item, then serve until None comes."""
        engine: LlamaEngine | None = None
        while (item := self.queue.get()) is not None:
            self._current = item
            if self._ending:  # read behind the assignment: `end` does the reverse
                break
            try:
                if engine is None:
                    engine = LlamaEngine(self._settings)
            except BaseException as error:
                item.fail(error)
            else:
                item.run(engine)
            self._current = None
            del item
        if engine is not None:
            engine.close()
        self.running.discard(self)

    def end(self) -> None:
        """End between two tokens or two batches of a prompt, and wait for it."""
        self._ending = True
        self.queue.put(None)
        current = self._current
        if isinstance(current, _Job):
            current.cancelled.set()
        self._thread.join()


@atexit.register
def _end_all() -> None:
    """Python must not be taken down under llama.cpp's feet: the process would crash."""
    with contextlib.suppress(KeyboardInterrupt):  # whoever insists gets what they want
        for worker in tuple(_Worker.running):
            worker.end()
