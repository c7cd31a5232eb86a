"""`CancelToken`: ends a run from anywhere, with its result kept."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator
from typing import Any

import anyio
import anyio.lowlevel


class CancelToken:
    """Pass it as ``agent.run(…, cancel=token)`` and call `cancel` from any thread, task or signal.

    The run then ends with status ``cancelled`` and its whole trajectory. (Cancelling the task that
    awaits the run works as well, but that raises, as cancellation does.)
    """

    def __init__(self) -> None:
        # Reentrant: a signal handler may cancel while its own thread holds the lock.
        self._lock = threading.RLock()
        self._callbacks: list[Callable[[], None]] = []
        self._cancelled = False

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    def cancel(self) -> None:
        """Ask every run that has this token to end; calling it again does nothing."""
        with self._lock:
            if self._cancelled:
                return
            self._cancelled = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back once when cancelled (at once if that has happened); returns how to undo it."""
        with self._lock:
            if not self._cancelled:
                self._callbacks.append(callback)
                return lambda: self._forget(callback)
        callback()
        return lambda: None

    def _forget(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)


@contextlib.contextmanager
def cancelled_by(token: CancelToken | None) -> Generator[anyio.CancelScope, None, None]:
    """A cancel scope that the token cancels, from whatever thread or signal handler.

    The cancellation is handed to the event loop and takes effect at its next turn: a signal handler
    may run in the middle of anything, also of the loop itself.
    """
    with anyio.CancelScope() as scope:
        if token is None:
            yield scope
            return
        native: Any = anyio.lowlevel.current_token().native_token
        soon: Callable[[Callable[[], None]], object] = getattr(
            native, "call_soon_threadsafe", None
        ) or getattr(native, "run_sync_soon")  # noqa: B009  # asyncio's and trio's name for it

        def cancel() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                soon(scope.cancel)

        undo = token.on_cancel(cancel)
        try:
            yield scope
        finally:
            undo()
