"""Runs a server so that nothing of it outlives whoever started it. Standard library only.

``launch`` starts this file, with the command of the server as arguments and a pipe as standard
input. The pipe ends when its other end does, by whatever death, SIGKILL included; the guard then
kills the server with all its processes. That is dependable where ``atexit`` is not (SIGKILL) and
where PR_SET_PDEATHSIG is not (it fires when the *thread* that started the server ends).

- The end of the pipe: SIGKILL to all processes of the server, at once.
- SIGTERM: passed on to the server, which ends its own processes; what is left is killed.
- The server ends by itself: its other processes are killed.

The exit status is the server's (128 + n for signal n).
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_REAPING = 10.0  # seconds; a killed process is gone in much less, unless the kernel holds it


def main(command: list[str]) -> int:
    """Run the command until it, or whoever holds the pipe, ends."""
    # Processes whose parent dies become the guard's own, so that it can wait for their end too,
    # in a container whose first process does not.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: asked.set())
    # A group of its own: one signal reaches every process of the server, and none of others.
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    passed_on = False
    try:
        while server.poll() is None:
            if asked.is_set() and not passed_on:
                passed_on = True
                server.terminate()
            if select.select([0], [], [], 0.2)[0]:
                break  # nothing is ever written: readable means ended
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        status = server.wait()
        _reap()
    return status if status >= 0 else 128 - status


def _reap() -> None:
    """Wait until nothing of the server is left, so that its memory and its port are free."""
    deadline = time.monotonic() + _REAPING
    with suppress(ChildProcessError):
        while time.monotonic() < deadline:
            for adopted in _children():  # one that had left the group of the server
                with suppress(ProcessLookupError):
                    os.kill(adopted, signal.SIGKILL)
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.02)


def _children() -> list[int]:
    """The children of this process, where the kernel tells them."""
    try:
        listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii")
    except OSError:
        return []
    return [int(pid) for pid in listed.split()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
