"""One contender in a process of its own: ``python -m benchmarks.step_overhead.worker NAME URL``.

It takes one JSON object a line (``way``, ``runs``, ``at_once``), makes the runs and answers with a
line: CPU seconds of the process, user and system and all threads, and its memory. It ends with its
standard input.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from . import task
from .registry import ENTRIES, Contender, Way


def memory() -> dict[str, int]:
    """Resident kilobytes of this process, now and at most."""
    fields = dict(
        line.split(":", 1) for line in Path("/proc/self/status").read_text("ascii").splitlines()
    )
    return {"rss_kb": int(fields["VmRSS"].split()[0]), "peak_kb": int(fields["VmHWM"].split()[0])}


async def perform(contender: Contender, way: Way, runs: int, at_once: bool) -> dict[str, Any]:
    """Make the runs, one after the other or all at the same time, and say what they took."""
    run = getattr(contender, way)
    gc.collect()
    before, calls = memory(), task.calls_made
    wall, start = time.perf_counter(), time.process_time()
    if at_once:
        answers: list[str] = await asyncio.gather(*(run() for _ in range(runs)))
    else:
        answers = [await run() for _ in range(runs)]
    cpu, wall = time.process_time() - start, time.perf_counter() - wall
    task.check(answers, calls)
    gc.collect()
    return {"cpu": cpu, "wall": wall, "before_kb": before["rss_kb"], **memory()}


async def _main(name: str, url: str) -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    contender: Contender | None = None
    for line in sys.stdin:
        order = json.loads(line)
        try:
            contender = contender or ENTRIES[name].load()(url)
            answer = await perform(contender, order["way"], order["runs"], order["at_once"])
        except Exception as error:
            traceback.print_exc()
            last = (str(error).strip().splitlines() or [""])[0]
            answer = {"error": f"{type(error).__name__}: {last}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:3]))
