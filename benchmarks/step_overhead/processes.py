"""The processes of a measurement: the scripted server, and a worker for each contender."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .registry import Way
from .server import GAP_MS

_CHECKOUT = Path(__file__).resolve().parents[2]


class ContenderError(Exception):
    """The contender could not make its runs; the text says why."""


@contextmanager
def _process(module: str, *arguments: str, quiet: bool) -> Generator[subprocess.Popen[str]]:
    """A module of this package as a child that ends when its standard input is closed."""
    with subprocess.Popen(
        [sys.executable, "-m", f"{__package__}.{module}", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else None,
        text=True,
        cwd=_CHECKOUT,
    ) as child:
        assert child.stdin is not None
        try:
            yield child
        finally:
            child.stdin.close()
            try:
                child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                child.kill()


@contextmanager
def serving(gap_ms: float = GAP_MS) -> Generator[str]:
    """A scripted server for the time of the context; its address without ``/v1``."""
    with _process("server", f"--gap-ms={gap_ms}", quiet=False) as child:
        assert child.stdout is not None
        yield f"http://127.0.0.1:{int(child.stdout.readline())}"


class Worker:
    """A contender's process, between two of its turns it waits."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child

    def perform(self, way: Way, runs: int, *, at_once: bool = False) -> dict[str, Any]:
        """Have it make so many runs.

        Raises:
            ContenderError: A run failed, or the process ended.
        """
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        order = {"way": way, "runs": runs, "at_once": at_once}
        try:
            print(json.dumps(order), file=self._child.stdin, flush=True)
            line = self._child.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise ContenderError(f"its process ended with code {self._child.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ContenderError(answer["error"])
        return answer


@contextmanager
def working(name: str, url: str, *, verbose: bool = False) -> Generator[Worker]:
    """A worker for the contender of that name.

    Args:
        name: Of the registry.
        url: The scripted server's address.
        verbose: Whether warnings and tracebacks of the library are shown.
    """
    with _process("worker", name, url, quiet=not verbose) as child:
        yield Worker(child)
