"""Processes for the tests of stores: forks of this one, and fresh interpreters."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path


def in_child(work: Callable[[], object]) -> int:
    """Do something in a fork of this process; its exit status, 1 for an exception."""
    return ended(forked(work))


def forked(work: Callable[[], object]) -> int:
    """Begin something in a fork of this process, which is quicker than a fresh interpreter."""
    with warnings.catch_warnings():  # of threads that earlier tests left waiting
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process:
        return process
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def ended(process: int) -> int:
    """The exit status of a fork, when it has ended."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def start(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """A fresh interpreter that runs the code; it can be talked to by lines."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def line(process: subprocess.Popen[str]) -> str:
    """The next line that a process prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> int:
    """Let a process go on to its end."""
    process.communicate(timeout=120)
    return process.returncode
