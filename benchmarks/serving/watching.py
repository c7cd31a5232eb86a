"""The server process seen from outside: what it counts itself, its sockets and its memory."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]
_PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Held:
    """What a server holds.

    Attributes:
        runs: That work.
        tasks: Of its event loop.
        threads: Without those that wait for further work.
        sockets: The listening one and the event loop's own included.
        memory: Resident, in MB.
        cpu: Seconds that it has used so far.
    """

    runs: int
    tasks: int
    threads: int
    sockets: int
    memory: float
    cpu: float

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """What has to be as before."""
        return self.runs, self.tasks, self.threads, self.sockets


class Watched:
    """A server process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout is not None
        self._root: str = json.loads(process.stdout.readline())["url"].removesuffix("/v1")
        self.port = int(self._root.rpartition(":")[2])

    def look(self) -> Held:
        """Ask the server and the system; the connection that asks is closed by then."""
        with urllib.request.urlopen(f"{self._root}/health?detail", timeout=30) as response:
            told = json.load(response)
        self._wait_for_close()
        proc = Path(f"/proc/{self._process.pid}")
        status = (proc / "status").read_text()
        memory = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        times = (proc / "stat").read_text().rpartition(")")[2].split()
        return Held(
            runs=told["runs"],
            tasks=told["tasks"],
            threads=told["threads"],
            sockets=self._sockets(),
            memory=int(memory.split()[1]) / 1024,
            cpu=(int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"),
        )

    def settled(self, before: Held) -> Held:
        """What it holds when that is no more than before, or after some seconds anyway."""
        deadline = time.monotonic() + _PATIENCE
        held = self.look()
        while held.counts != before.counts and time.monotonic() < deadline:
            time.sleep(0.1)
            held = self.look()
        return held

    def _wait_for_close(self) -> None:
        time.sleep(0.05)

    def _sockets(self) -> int:
        folder, found = Path(f"/proc/{self._process.pid}/fd"), 0
        for name in folder.iterdir():
            with contextlib.suppress(OSError):
                found += os.readlink(name).startswith("socket:")
        return found


@contextmanager
def serving(runs: int) -> Generator[Watched, None, None]:
    """A server for the time of the context, for so many runs at once."""
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "ling_agent", "serve", "benchmarks.serving.agents:agent"),
            *("--port", "0", "--json", "--max-runs", str(runs), "--log-level", "error"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=_CHECKOUT,
    ) as process:
        try:
            yield Watched(process)
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
