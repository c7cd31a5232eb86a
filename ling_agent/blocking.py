"""`run_blocking`: asynchronous work from synchronous code, wherever that code runs."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from typing import Any, TypeVar

import anyio
import anyio.lowlevel

T = TypeVar("T")


def run_blocking(call: Callable[[], Coroutine[Any, Any, T]], cancel: Callable[[], None]) -> T:
    """Run a coroutine to its end: in this thread, or in another when a loop runs here.

    Args:
        call: Makes the coroutine.
        cancel: Asks it to end; called on Ctrl-C, which is raised once it has.
    """
    if not _loop_runs_here():
        return anyio.run(call)
    outcome: Future[T] = Future()
    context = contextvars.copy_context()

    def target() -> None:
        try:
            outcome.set_result(context.run(_run_anew, call))
        except BaseException as error:
            outcome.set_exception(error)

    thread = threading.Thread(target=target, name="ling-agent-run-sync")
    try:
        thread.start()
        wait([outcome])
    except KeyboardInterrupt:
        cancel()
        # Not thread.join(): once interrupted, it takes the thread for ended (bpo-45274).
        wait([outcome])
        raise
    return outcome.result()


def _loop_runs_here() -> bool:
    try:
        anyio.lowlevel.current_token()
    except RuntimeError:
        pass
    else:
        return True
    try:
        asyncio.get_running_loop()  # in a callback no task runs, so anyio does not see the loop
    except RuntimeError:
        return False
    return True


def _run_anew(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """`anyio.run` in a thread whose context is a copy of one in which a loop runs."""
    for variable in contextvars.copy_context():
        if variable.name == "current_async_library_cvar":  # sniffio's: it names the other loop
            variable.set(None)
    return anyio.run(call)
