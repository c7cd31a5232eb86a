"""More than one process, and processes that are killed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from ling_agent import catalog

from .conftest import leftovers
from .stand_in import StandInHub, model_of, pull_in_process


def _until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def test_two_processes_download_once(hub: StandInHub, data: bytes, cache: Path) -> None:
    hub.stall.clear()
    model = model_of(data)
    children = [pull_in_process(model), pull_in_process(model)]
    notes: list[str] = []

    def read(index: int) -> None:
        stream = children[index].stderr
        assert stream is not None
        notes.extend(stream)

    readers = [threading.Thread(target=read, args=(index,)) for index in range(2)]
    for reader in readers:
        reader.start()
    # Only when one of them waits for the other may the download go on.
    _until(lambda: any("another process is downloading tiny" in note for note in notes))
    hub.stall.set()
    for child, reader in zip(children, readers, strict=True):
        reader.join(15)
        with child:  # closes the pipes
            assert child.stdout is not None
            assert child.stdout.read().strip() == str(cache / "tiny.gguf")
        assert child.returncode == 0
    assert hub.downloads == [""]
    assert leftovers(cache) == ["tiny.gguf", "tiny.json"]


def test_two_threads_download_once(hub: StandInHub, data: bytes) -> None:
    paths: list[Path] = []
    model = model_of(data)
    threads = [threading.Thread(target=lambda: paths.append(catalog.pull(model))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15)
    assert len(paths) == 4
    assert len(set(paths)) == 1
    assert hub.downloads == [""]


def test_killed_process_is_continued(hub: StandInHub, data: bytes, cache: Path) -> None:
    hub.stall.clear()
    model = model_of(data)
    child = pull_in_process(model)
    staging = cache / ".staging" / "tiny"

    def half_is_there() -> bool:
        return any(f.stat().st_size >= len(data) // 2 for f in staging.glob("*.partial"))

    _until(half_is_there)
    child.kill()  # SIGKILL: no handler runs, the lock goes with the process
    child.communicate(timeout=15)
    assert not (cache / "tiny.gguf").exists()
    hub.stall.set()
    assert catalog.pull(model).read_bytes() == data
    assert hub.downloads == ["", f"bytes={len(data) // 2}-"]
