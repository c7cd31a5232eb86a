"""Ctrl-C while a run works: each press does more than the one before it.

The handler is a plain one and not the event loop's: it is also called while a tool blocks the loop,
so that the last press always ends the program. It does only what is safe in a signal handler: it
sets tokens, and asks the event loop for something at its next turn.
"""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, NoReturn

_GRACE = 1.0
"""Seconds that the program has to end by itself after the last press."""


@dataclass(frozen=True, slots=True)
class Press:
    """What a press of Ctrl-C does, and what is said about it."""

    act: Callable[[], None]
    says: str


class Leaving(KeyboardInterrupt):
    """Ctrl-C was pressed once more than a run has use for: the program is to end."""


class Interrupts:
    """Counts presses of Ctrl-C.

    Args:
        presses: The first, the second, …; one more ends the program.

    Attributes:
        count: How often it was pressed.
    """

    def __init__(self, *presses: Press) -> None:
        self._presses = presses
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tell: Callable[[str], None] | None = None
        self.count = 0

    @property
    def leaving(self) -> bool:
        """Whether the program is to end."""
        return self.count > len(self._presses)

    def tell_by(self, tell: Callable[[str], None]) -> None:
        """Say what a press does by this function, which the running event loop calls."""
        self._loop, self._tell = asyncio.get_running_loop(), tell

    def press(self) -> None:
        """Take one more press."""
        self.count += 1
        if not self.leaving:
            press = self._presses[self.count - 1]
            press.act()
            self._say(press.says)
        elif self.count == len(self._presses) + 1:
            # Not threading.Thread: this thread may hold the lock that its start needs.
            _thread.start_new_thread(_end_soon, ())
        else:
            end_now()

    def _say(self, text: str) -> None:
        if self._loop is not None and self._tell is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._tell, text)


@contextlib.contextmanager
def interrupting(interrupts: Interrupts) -> Generator[None, None, None]:
    """Hand Ctrl-C to `interrupts` while the context lasts.

    Raises:
        Leaving: At the end of the context, when the program is to end.
        KeyboardInterrupt: A tool or a backend raised one, which comes in a group.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # which gets no signals
        return

    def handle(number: int, frame: object) -> None:
        interrupts.press()

    before: Any = signal.signal(signal.SIGINT, handle)
    try:
        yield
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is None:
            raise
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupts.leaving:
        raise Leaving


def _end_soon() -> None:
    time.sleep(_GRACE)
    end_now()


def end_now() -> NoReturn:
    """End the process as Ctrl-C does, whatever it is held up by; a store is as after a crash."""
    with contextlib.suppress(OSError):
        os.write(2, b"\nling-agent: interrupted\n")  # not print(): this may be inside of one
    os._exit(130)
