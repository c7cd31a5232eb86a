"""Run a sync tool in a thread that can be left behind."""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import anyio
from anyio import from_thread
from anyio.lowlevel import current_token

T = TypeVar("T")


async def run_abandonable(f: Callable[[], T], *, name: str) -> T:
    """The result of `f`, called in a daemon thread with the caller's context variables.

    When the caller is cancelled it goes on at once, and the thread is left to end by itself. It is
    a daemon, unlike anyio's own worker threads on asyncio: Python would wait for those at exit, so
    a program with a hanging tool would outlive the tool's timeout for as long as the tool hangs.

    Args:
        f: What to call.
        name: The thread's name, for debuggers.

    Raises:
        BaseException: What `f` raised.
    """
    ended = anyio.Event()
    token = current_token()
    context = _context()
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(context.run(f))
        except StopIteration as error:  # which no coroutine can raise
            errors.append(RuntimeError(f"the tool raised {type(error).__name__}"))
        except BaseException as error:
            errors.append(error)
        try:
            from_thread.run_sync(ended.set, token=token)
        except Exception:
            return  # the event loop has ended: nobody waits any more

    threading.Thread(target=work, name=name, daemon=True).start()
    await ended.wait()
    if errors:
        raise errors.pop()
    return results[0]


def _context() -> contextvars.Context:
    """A copy of the caller's context that does not claim to run inside an event loop."""
    context = contextvars.copy_context()
    sniffio: Any = sys.modules.get("sniffio")
    if sniffio is not None:
        context.run(sniffio.current_async_library_cvar.set, None)
    return context
