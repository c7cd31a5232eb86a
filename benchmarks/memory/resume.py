"""Taking a run up again, in a fresh process: ``python -m benchmarks.memory.resume STORE``.

Timed: opening the store, loading the run, rebuilding the window. Imports are told apart. The file
is most likely still in the system's cache.
"""

from __future__ import annotations

import json
import sys
import time

_STARTED = time.perf_counter()

from ling_agent.memory.sqlite import SQLiteStore  # noqa: E402 - what it takes is measured
from ling_agent.memory.window import Window  # noqa: E402

from .run import SESSION  # noqa: E402


def main(path: str) -> None:
    """Resume once and print what it took."""
    begin = time.perf_counter()
    store = SQLiteStore(path)
    trajectory = store.load(SESSION)
    loaded = time.perf_counter()
    messages = Window(trajectory).messages()
    end = time.perf_counter()
    store.close()
    figures = {
        "imports": begin - _STARTED,
        "load": loaded - begin,
        "window": end - loaded,
        "total": end - begin,
        "entries": len(trajectory),
        "messages": len(messages),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1])
