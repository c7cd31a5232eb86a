"""`CancelToken`: ends a run, or only its answer, from anywhere, with the result kept."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator
from typing import Any

import anyio
import anyio.lowlevel

Subscribe = Callable[[Callable[[], None]], Callable[[], None]]
"""Takes a callback and returns how to undo it."""


class _Signal:
    """Something that is said once; safe in any thread and in signal handlers.

    Without a lock: a signal handler runs between any two operations of its own thread, so one that
    the thread can take twice keeps nothing apart. Each callback is whosever takes it out.
    """

    def __init__(self) -> None:
        self._callbacks: deque[Callable[[], None]] = deque()
        self.is_set = False

    def set(self) -> None:
        self.is_set = True
        while True:
            try:
                callback = self._callbacks.popleft()
            except IndexError:
                return
            callback()

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        if self.is_set:  # before, or by a handler that has come in between
            self.set()
        return lambda: self.forget(callback)

    def forget(self, callback: Callable[[], None]) -> None:
        with contextlib.suppress(ValueError):  # it was called
            self._callbacks.remove(callback)


class CancelToken:
    """Pass it as ``agent.run(…, cancel=token)``; its methods may be called from any thread, task or
    signal handler, for every run that has it.

    `stop` ends the answer: what the model has said is kept and the run ends as ``stopped``.
    `cancel` ends the run as ``cancelled``, with its whole trajectory. (Cancelling the task that
    awaits the run works as well, but that raises, as cancellation does.)
    """

    def __init__(self) -> None:
        self._cancel = _Signal()
        self._stop = _Signal()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancel.is_set

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set

    def cancel(self) -> None:
        """Ask every run that has this token to end; calling it again does nothing."""
        self._cancel.set()

    def stop(self) -> None:
        """Ask the model to say no more; calls that run already finish, and are kept.

        Calling it again does nothing, and so does it after `cancel`.
        """
        self._stop.set()

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back once when cancelled (at once if that has happened); returns how to undo it."""
        return self._cancel.subscribe(callback)

    def on_stop(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back once when stopped (at once if that has happened); returns how to undo it."""
        return self._stop.subscribe(callback)


@contextlib.contextmanager
def following(token: CancelToken, other: CancelToken | None) -> Generator[None, None, None]:
    """While the context lasts, a token is stopped and cancelled when another one is."""
    if other is None:
        yield
        return
    undo = [other.on_cancel(token.cancel), other.on_stop(token.stop)]
    try:
        yield
    finally:
        for forget in undo:
            forget()


def cancelled_by(
    token: CancelToken | None,
) -> contextlib.AbstractContextManager[anyio.CancelScope]:
    """A cancel scope that `CancelToken.cancel` cancels, from whatever thread or signal handler."""
    return _scope(token.on_cancel if token is not None else None)


def stopped_by(token: CancelToken | None) -> contextlib.AbstractContextManager[anyio.CancelScope]:
    """A cancel scope that `CancelToken.stop` cancels, from whatever thread or signal handler."""
    return _scope(token.on_stop if token is not None else None)


@contextlib.contextmanager
def _scope(subscribe: Subscribe | None) -> Generator[anyio.CancelScope, None, None]:
    """The cancellation is handed to the event loop and takes effect at its next turn: a signal
    handler may run in the middle of anything, also of the loop itself.
    """
    with anyio.CancelScope() as scope:
        if subscribe is None:
            yield scope
            return
        native: Any = anyio.lowlevel.current_token().native_token
        soon: Callable[[Callable[[], None]], object] = getattr(
            native, "call_soon_threadsafe", None
        ) or getattr(native, "run_sync_soon")  # noqa: B009  # asyncio's and trio's name for it

        def cancel() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                soon(scope.cancel)

        undo = subscribe(cancel)
        try:
            yield scope
        finally:
            undo()
