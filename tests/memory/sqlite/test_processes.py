"""Several processes on one file: writing at once, dying in the middle, forking."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ling_agent import ConfigurationError
from ling_agent.memory.sqlite import SQLiteStore, connections
from tests.memory.entries import log, observation
from tests.memory.processes import end, ended, forked, in_child, line, start

APPEND = """
import sys
from ling_agent.memory.sqlite import SQLiteStore, connections
from tests.memory.entries import log
path, name, count = sys.argv[1:]
store = SQLiteStore(path)
sys.stdin.readline()
for entry in log(int(count), name):
    store.append(name, [entry])
    print(entry.id, flush=True)
store.close()
"""

CLAIM = """
import sys
from ling_agent.memory.sqlite import SQLiteStore
store = SQLiteStore(sys.argv[1])
with store.claim("a"):
    store.append("a", [], status="running")
    print("mine", flush=True)
    sys.stdin.readline()
store.close()
"""


def test_fifty_processes_append_to_one_file_that_is_not_there_yet(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    ready, go = os.pipe()

    def append(name: str) -> None:
        os.close(go)
        os.read(ready, 1)  # until the last is there: then nobody has the other end
        store = SQLiteStore(path)
        for entry in log(10, name):
            store.append(name, [entry])
        store.close()

    names = [f"run-{number}" for number in range(50)]
    processes = [forked(lambda name=name: append(name)) for name in names]
    os.close(go)
    os.close(ready)
    assert [ended(process) for process in processes] == [0] * 50
    store = SQLiteStore(path)
    assert {run.run_id: run.entries for run in store.runs()} == dict.fromkeys(names, 10)
    assert store.load("run-7")[0].data["task"] == "run-7"
    assert len(store.search("run-7", "run-7")) == 10
    store.close()


@pytest.mark.parametrize("after", [1, 7, 40])
def test_what_was_appended_outlives_a_killed_process(tmp_path: Path, after: int) -> None:
    path = tmp_path / "runs.db"
    process = start(APPEND, path, "orchid", "100000")
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    for number in range(after):
        assert line(process) == str(number)
    process.send_signal(signal.SIGKILL)
    assert end(process) == -signal.SIGKILL
    store = SQLiteStore(path)
    kept = list(store.load("orchid"))
    assert len(kept) >= after
    assert len(store.search("orchid", "orchid", limit=1)) == 1
    store.append("orchid", [observation("on it goes", after=len(kept))])
    assert len(store.load("orchid")) == len(kept) + 1
    store.close()


def test_a_run_is_refused_while_its_process_lives_and_taken_over_when_it_is_dead(
    tmp_path: Path,
) -> None:
    store = SQLiteStore(tmp_path / "runs.db")
    process = start(CLAIM, store.path)
    assert line(process) == "mine"
    assert store.runs()[0].status == "running"
    with (
        pytest.raises(ConfigurationError, match=rf"another process \(pid {process.pid}\)"),
        store.claim("a"),
    ):
        pytest.fail("not reached")
    with store.claim("b"):
        pass
    process.send_signal(signal.SIGKILL)
    assert end(process) == -signal.SIGKILL
    assert store.runs()[0].status == "interrupted"
    with store.claim("a"):
        assert store.runs()[0].status == "running"
    store.close()


def test_a_forked_process_uses_connections_of_its_own(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "runs.db")
    entries = log(6)
    store.append("a", entries[:2])

    def child() -> None:
        store.append("a", entries[2:4])
        with pytest.raises(ConfigurationError, match="another process"), store.claim("a"):
            pass
        store.close()

    with store.claim("a"):
        assert in_child(child) == 0
        with pytest.raises(ConfigurationError, match="has not ended"), store.claim("a"):
            pass
        assert in_child(child) == 1, "the child's entries are kept by now"
    store.append("a", entries[4:])
    assert list(store.load("a")) == entries
    store.close()


def test_a_child_opens_its_file_whatever_its_parent_was_opening(tmp_path: Path) -> None:
    def child() -> None:
        signal.alarm(10)  # a lock that nobody gives back would be waited for
        SQLiteStore(tmp_path / "runs.db").append("a", log(1))

    with connections._creating:  # pyright: ignore[reportPrivateUsage]
        assert in_child(child) == 0
