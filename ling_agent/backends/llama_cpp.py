"""`LlamaCppBackend`: a GGUF model in this process, on one GPU or the CPU.

Data flow: messages -> `Prompts` (text) -> engine thread (tokens, generation) -> pieces of
text -> the caller's event loop. The engine runs in one dedicated thread and computes concurrent
requests together; backends with equal settings share it, so that a model is loaded once per
process. How it works is told in `ling_agent.backends.embedded`.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread

from ..extras import require
from ..hermes import render
from ..messages import Message, SystemMessage, to_openai
from ..profiles import Profile, get_profile, profile_for_gguf
from .base import Backend, Chunk, ModelInfo, ModelRequest, TextChunk
from .embedded.delivery import Delivery
from .embedded.schemas import schema_notes
from .embedded.settings import EngineSettings
from .prompts import Prompts

if TYPE_CHECKING:  # these load llama.cpp's companions, which are an extra
    from .embedded.engine import Engine
    from .embedded.generation import GenerationRequest
    from .embedded.model import LoadedModel
    from .embedded.thread import EngineThread

_OWN_DIALECT = (
    "calls are not held to their schema: the model writes them with <arg_key>, and the grammars "
    "know JSON; they are checked when they are read"
)

T = TypeVar("T")


class LlamaCppBackend(Backend):
    """A model file run by llama.cpp in this process.

    Args:
        model: An alias of the catalogue (downloaded when it is missing) or a path to a ``.gguf``.
        n_ctx: Context window of each conversation in tokens; the default is the model's own limit,
            bounded by memory.
        n_parallel: Conversations that are kept in the context and generate at the same time; the
            default is 4, or fewer where memory is short.
        n_gpu_layers: Layers on the GPU; the default is all of them when llama.cpp was built for
            one, else none.
        n_cpu_moe: Of that many layers, counted from the first, the expert tensors stay in system
            memory; for mixture-of-experts models that do not fit the GPU.
        n_threads: CPU threads; the default is the number of cores that the process may use.
        n_batch: Prompt tokens that are evaluated in one go; a cancel is noticed between two.
        kv_type: Type of the KV cache: ``f16``, ``q8_0``, ``q4_0`` and others of llama.cpp.
        flash_attention: The default lets llama.cpp choose.
        constrained: Hold calls to their tool's schema while they are generated.
        profile: Name of a profile, or a `Profile`; the default is read from the file.

    Nothing is loaded before the first request.

    Raises:
        ConfigurationError: A setting that cannot be.
    """

    renders_prompts = True

    def __init__(
        self,
        model: str,
        *,
        n_ctx: int | None = None,
        n_parallel: int | None = None,
        n_gpu_layers: int | None = None,
        n_cpu_moe: int = 0,
        n_threads: int | None = None,
        n_batch: int = 512,
        kv_type: str = "f16",
        flash_attention: bool | None = None,
        constrained: bool = True,
        profile: str | Profile | None = None,
    ) -> None:
        self._model = model
        self._settings = EngineSettings(
            Path(model),
            n_ctx=n_ctx,
            n_parallel=n_parallel,
            n_gpu_layers=n_gpu_layers,
            n_cpu_moe=n_cpu_moe,
            n_threads=n_threads,
            n_batch=n_batch,
            kv_type=kv_type,
            flash_attention=flash_attention,
        )
        self._constrained = constrained
        self._profile = get_profile(profile) if isinstance(profile, str) else profile
        self._prompts = Prompts()
        self._beginnings: dict[int, tuple[object, str]] = {}
        self._thread: EngineThread | None = None
        self._info: ModelInfo | None = None  # of the engine of that thread
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return f"llamacpp:{self._model}"

    async def describe(self) -> ModelInfo:
        thread = await self._engine()
        if self._info is None:
            self._info = self._info_of(await self._ask(thread, lambda engine: engine.model))
        return self._info

    def _info_of(self, model: LoadedModel) -> ModelInfo:
        header, n_ctx = model.header, model.n_ctx
        profile = self._profile
        if profile is None:
            text = {k: v for k, v in header.metadata.items() if isinstance(v, str)}
            profile = profile_for_gguf(text)
        notes: tuple[str, ...] = ()
        if self._constrained and profile.dialect != "json":
            notes = (_OWN_DIALECT,)
        if 0 < n_ctx < header.context_length:
            notes += (f"context window {n_ctx:,} of the model's {header.context_length:,} tokens",)
        return ModelInfo(
            Path(header.path).stem,
            n_ctx,
            profile,
            notes,
            model.parameters,
            forces_calls=self._constrained and profile.dialect == "json",
        )

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Chunk], None]:
        info = await self.describe()
        thread = await self._engine()
        with Delivery() as delivery:
            thread.put(self._request(request, info.profile, delivery))
            if not request.prefill:
                yield delivery
                return
            async with aclosing(_prefilled(delivery, request.prefill)) as chunks:
                yield chunks

    def _request(
        self, request: ModelRequest, profile: Profile, delivery: Delivery
    ) -> GenerationRequest:
        from .embedded.generation import GenerationRequest

        return GenerationRequest(
            prompt=self._prompts.render(request, profile.template),
            put=delivery.put,
            cancelled=delivery.cancelled,
            sampling=request.sampling,
            stop=profile.stop,
            prefix=self._beginning(request, profile.template),
            prefill=("<think>" if profile.starts_in_reasoning else "") + request.prefill,
            conversation=request.conversation,
            stop_when=request.stop_when,
            choice=request.tool_choice,
            tools=request.tools,
            bare_json=profile.bare_json,
            # The grammars of calls know JSON only; one of an answer would leave no room for them.
            constrained=self._constrained
            and (profile.dialect == "json" or request.tool_choice == "none" or not request.tools),
            answer_schema=request.answer_schema,
            weigh=request.weigh,
            watched=request.watched,
        )

    def _beginning(self, request: ModelRequest, template: str) -> str:
        """`_shared_beginning`, rendered once for the requests of a run that have the same."""
        count = max(request.shared, int(isinstance(request.messages[0], SystemMessage)))
        key = (request.messages[:count], request.tools, template)
        known = self._beginnings.get(count)
        if known is None or known[0] != key:
            self._beginnings[count] = known = (key, _shared_beginning(*key))
        return known[1]

    def tool_notes(self, tools: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
        if not tools or not self._constrained or importlib.util.find_spec("llguidance") is None:
            return ()
        return schema_notes(tools)

    async def count_tokens(self, text: str) -> int | None:
        thread = await self._engine()
        return await self._ask(thread, lambda engine: engine.count_tokens(text))

    async def save_state(self, run_id: str, path: str | os.PathLike[str]) -> None:
        """Save what was computed of a run, so that another process need not compute it again.

        Args:
            run_id: `RunResult.run_id`.
            path: The file; only its user may read it.

        Raises:
            StoreError: Nothing is known of the run, or the file cannot be written.
        """
        thread = await self._engine()
        await self._ask(thread, lambda engine: engine.save_state(run_id, Path(path)))

    async def load_state(self, run_id: str, path: str | os.PathLike[str]) -> str:
        """Take up what `save_state` has saved; the run's next prompt is evaluated from there.

        Returns:
            Empty, or why the file is of no use (another model, other settings, another build of
            llama.cpp, damage), as one line: the prompt is then evaluated as ever.
        """
        thread = await self._engine()
        return await self._ask(thread, lambda engine: engine.load_state(run_id, Path(path)))

    async def aclose(self) -> None:
        """Let go of the model; it is freed when no other backend uses it."""
        with self._lock:
            self._thread = self._info = None

    async def _engine(self) -> EngineThread:
        if self._thread is None:
            self._thread = await anyio.to_thread.run_sync(self._open, abandon_on_cancel=True)
        return self._thread

    def _open(self) -> EngineThread:
        needed = ("numpy", "llama_cpp", "llguidance") if self._constrained else ("numpy",)
        for module in needed:
            if importlib.util.find_spec(module) is None:
                require(module, extra="llamacpp", why="the embedded backend")
        # Before numpy: a CUDA build was seen to crash when it came second.
        require("llama_cpp.llama_cpp", extra="llamacpp", why="the embedded backend")
        from ..catalog import resolve
        from .embedded.thread import EngineThread

        settings = dataclasses.replace(self._settings, path=resolve(self._model))
        return EngineThread.shared(settings)

    async def _ask(self, thread: EngineThread, work: Callable[[Engine], T]) -> T:
        from .embedded.thread import Question

        future: Future[T] = Future()
        thread.put(Question(work, future))
        return await anyio.to_thread.run_sync(future.result, abandon_on_cancel=True)


async def _prefilled(delivery: Delivery, prefill: str) -> AsyncGenerator[Chunk, None]:
    yield TextChunk(prefill)
    async for chunk in delivery:
        yield chunk


def _shared_beginning(
    messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], template: str
) -> str:
    """What prompts with these messages and tools have in common, whatever the task behind is."""
    head = [to_openai(message) for message in messages]
    one, other = (
        render([*head, {"role": "user", "content": text}], tools or None, template=template)
        for text in ("a", "b")
    )
    pairs = enumerate(zip(one, other, strict=True))
    return one[: next(at for at, (left, right) in pairs if left != right)]
