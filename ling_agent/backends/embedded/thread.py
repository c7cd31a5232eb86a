"""`EngineThread`: the thread that owns one engine and everything that happens in it."""

from __future__ import annotations

import atexit
import contextlib
import queue
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, ClassVar

from ...errors import BackendUnavailable, LingAgentError
from .engine import Engine
from .generation import GenerationRequest
from .settings import EngineSettings


@dataclass(slots=True)
class Question:
    """A short question to the engine, answered through a future between two batches."""

    work: Callable[[Engine], Any]
    future: Future[Any]


Item = GenerationRequest | Question


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

    def put(self, item: Item) -> None:
        """Queue something: requests are computed together, as far as there are slots."""
        self._worker.queue.put(item)


class _Worker:
    """What the engine's thread works with."""

    running: ClassVar[set[_Worker]] = set()

    def __init__(self, settings: EngineSettings) -> None:
        self.queue: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._settings = settings
        self._engine: Engine | None = None
        self._ending = False
        self._thread = threading.Thread(target=self._serve, name="ling-agent-engine", daemon=True)
        self.running.add(self)
        self._thread.start()

    def _serve(self) -> None:
        """Load on the first item, then serve until None comes."""
        while not self._ending and self._take_items():
            if self._engine is not None and not self._engine.idle:
                self._engine.tick()
        if self._engine is not None:
            self._engine.scheduler.cancel_all()
            self._engine.close()
        self.running.discard(self)

    def _take_items(self) -> bool:
        """Begin what is queued; waits when there is nothing else to do. False is the end."""
        wait = self._engine is None or self._engine.idle
        while True:
            try:
                item = self.queue.get() if wait else self.queue.get_nowait()
            except queue.Empty:
                return True
            if item is None or self._ending:
                return False
            self._begin(item)
            del item  # a request that is done must not be held by a thread that waits
            wait = False

    def _begin(self, item: Item) -> None:
        try:
            if self._engine is None:
                self._engine = Engine(self._settings)
            if isinstance(item, Question):
                item.future.set_result(item.work(self._engine))
            elif not item.cancelled.is_set():
                self._engine.start(item)
        except BaseException as error:
            _answer(item, error)

    def end(self) -> None:
        """End between two batches, and wait for it."""
        self._ending = True
        self.queue.put(None)
        self._thread.join()


def _answer(item: Item, error: BaseException) -> None:
    """Give an error to who has asked."""
    if isinstance(item, Question):
        item.future.set_exception(error)
    elif isinstance(error, LingAgentError) or not isinstance(error, Exception):
        item.put(error)
    else:  # a defect here must reach the caller, not end the thread
        item.put(BackendUnavailable(f"the embedded engine failed: {error!r}"))


@atexit.register
def _end_all() -> None:
    """Python must not be taken down under llama.cpp's feet: the process would crash."""
    with contextlib.suppress(KeyboardInterrupt):  # whoever insists gets what they want
        for worker in tuple(_Worker.running):
            worker.end()
