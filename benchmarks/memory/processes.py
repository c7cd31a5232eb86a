"""The processes of the measurement; none of them outlives the benchmark."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_CHECKOUT = Path(__file__).resolve().parents[2]


class ChildError(Exception):
    """A process of the benchmark failed; what it said is on standard error."""


@contextmanager
def _child(module: str, *arguments: object, stdin: int) -> Generator[subprocess.Popen[str]]:
    """A module of this package as a child; a keyboard interrupt reaches it through its parent."""
    with subprocess.Popen(
        [sys.executable, "-m", f"{__package__}.{module}", *map(str, arguments)],
        stdin=stdin,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_CHECKOUT,
        start_new_session=True,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


@contextmanager
def serving(steps: int) -> Generator[str]:
    """A server for one run of so many steps; its address without ``/v1``."""
    with _child("server", steps, stdin=subprocess.PIPE) as child:
        assert child.stdout is not None
        yield f"http://127.0.0.1:{int(child.stdout.readline())}"


def report(url: str) -> dict[str, Any]:
    """What a server has seen."""
    with urllib.request.urlopen(f"{url}/report") as answer:
        return json.load(answer)


def ask(module: str, *arguments: object) -> dict[str, Any]:
    """Run a module of this package to its end and take its last line, which is JSON.

    Raises:
        ChildError: It failed.
    """
    with _child(module, *arguments, stdin=subprocess.DEVNULL) as child:
        output, _ = child.communicate()
    if child.returncode or not output:
        raise ChildError(f"benchmarks.memory.{module} ended with code {child.returncode}")
    return json.loads(output.splitlines()[-1])
