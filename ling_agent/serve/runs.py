"""`Runs`: the runs that work now: how many there may be, and how they end with the server."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Hashable

import anyio

from ..cancellation import CancelToken
from .refusals import RefusedError

_TICK = 0.02
_RETRY_SECONDS = 1.0


class Admitted:
    """A run's place among those that work.

    Attributes:
        token: Cancels the run.
        shut_down: Whether the server's end has cancelled it.
    """

    def __init__(self, release: Callable[[Admitted], None]) -> None:
        self._release = release
        self.token = CancelToken()
        self.shut_down = False

    def release(self) -> None:
        """Give the place up, and the conversation; doing it again does nothing."""
        self._release(self)


class Runs:
    """Counts runs and ends them; usable from any event loop.

    Attributes:
        draining: Whether no further run is admitted.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._admitted: dict[Admitted, Hashable] = {}
        self.draining = False

    def __len__(self) -> int:
        return len(self._admitted)

    def check(self) -> None:
        """Refuse early what `admit` would refuse.

        Raises:
            RefusedError: 503 while the server ends, 429 when all places are taken.
        """
        if self.draining:
            raise RefusedError(
                503,
                "the server is shutting down",
                code="shutting_down",
                retry_after=5,
                close=True,
            )
        if len(self._admitted) >= self._most:
            raise RefusedError(
                429,
                f"{self._most} runs are being worked on, which is the most here: try again",
                code="too_many_runs",
                retry_after=_RETRY_SECONDS,
            )

    @contextlib.contextmanager
    def admit(self, name: Hashable) -> Generator[Admitted, None, None]:
        """Have a place, and a conversation to oneself, for the time of the context.

        Args:
            name: Of the conversation.

        Raises:
            RefusedError: As `check` does, and 409 while another run has the conversation.
        """
        with self._lock:
            self.check()
            if name in self._admitted.values():
                raise busy()
            one = Admitted(self._release)
            self._admitted[one] = name
        try:
            yield one
        finally:
            one.release()

    def _release(self, one: Admitted) -> None:
        with self._lock:
            self._admitted.pop(one, None)

    async def drain(self, grace: float) -> None:
        """Admit nothing more, give the runs some seconds, then cancel them; until none is left."""
        self.draining = True
        with anyio.move_on_after(grace):
            await self._none_left()
        for one in list(self._admitted):
            one.shut_down = True
            one.token.cancel()
        await self._none_left()

    async def _none_left(self) -> None:
        while self._admitted:  # noqa: ASYNC110 - an event would belong to one event loop
            await anyio.sleep(_TICK)


def busy() -> RefusedError:
    """The conversation has a run already."""
    return RefusedError(
        409,
        "a run of this session has not ended: wait for it, or use another session",
        code="session_busy",
    )
