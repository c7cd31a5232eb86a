"""The run, in a process of its own: ``python -m benchmarks.memory.run URL TEXTS STORE STEPS``.

Inside the tool it notes, once a step, what this process has cost so far; it prints one JSON object.
``STORE`` is the path of a file, or ``memory`` for the store of this process.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from ling_agent import Agent, Limits, Memory, RunResult
from ling_agent.backends import VLLMBackend
from ling_agent.memory import InMemoryStore, Store
from ling_agent.memory.sqlite import SQLiteStore
from ling_agent.messages import AssistantMessage

from .steps import TASK, Steps

SESSION = "long"
_EVERY = 100
_STATM = Path("/proc/self/statm")


class Notes:
    """What the run has cost, by step."""

    def __init__(self, steps: Steps, count: int) -> None:
        self._steps = steps
        self._count = count
        self._cpu: list[float] = []
        self._resident: dict[int, int] = {}

    async def read_page(self, page: int, topic: str) -> str:
        """Read a page of the archive.

        Args:
            page: Number of the page, from 1.
            topic: What to look for on it.
        """
        self._cpu.append(time.process_time())
        step = len(self._cpu)
        if step % _EVERY == 0 or step == self._count:
            self._note_memory(step)
        return self._steps.observation(page)

    def _note_memory(self, step: int) -> None:
        size = resident()
        if size is not None:
            self._resident[step] = size
        print(f"\rstep {step:,} of {self._count:,} ", end="", file=sys.stderr, flush=True)

    def figures(self) -> dict[str, Any]:
        """CPU seconds up to each step, and resident bytes at some of them."""
        return {"cpu": self._cpu, "resident": self._resident}


def resident() -> int | None:
    """Resident bytes of this process; None where the system does not say."""
    try:
        pages = int(_STATM.read_text("ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def told(result: RunResult) -> dict[str, Any]:
    """What the log of the run says about it."""
    entries = list(result.trajectory)
    seen = [e for e in entries if e.kind == "compaction"]
    return {
        "status": result.status.value,
        "error": str(result.error or ""),
        "entries": len(entries),
        "tokens": sum(e.data["completion_tokens"] for e in entries if e.kind == "usage"),
        "raw": sum(len(e.text.encode()) for e in entries if e.message is not None),
        "compactions": [
            {
                "step": entry.step,
                "reason": entry.data["reason"],
                "by": entry.data.get("by", ""),
                "bytes": len(json.dumps(entry.data)),
                "dropped": sum(last - first + 1 for first, last in entry.data.get("dropped", ())),
                "stubs": len(entry.data.get("stubs", ())),
            }
            for entry in seen
        ],
        "calls": sum(isinstance(e.message, AssistantMessage) for e in entries),
    }


async def _main(url: str, texts: str, path: str, count: int) -> None:
    store: Store = InMemoryStore() if path == "memory" else SQLiteStore(path)
    steps = Steps(Path(texts))
    notes = Notes(steps, count)
    agent = Agent(
        VLLMBackend(url),
        tools=[notes.read_page],
        planning="off",
        memory=Memory(store),
        limits=Limits(max_steps=count + 1),
    )
    started = time.perf_counter()
    result = await agent.run(TASK, session=SESSION)
    wall = time.perf_counter() - started
    store.close()
    steps.close()
    print(file=sys.stderr)
    print(json.dumps({**notes.figures(), **told(result), "wall": wall}))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
