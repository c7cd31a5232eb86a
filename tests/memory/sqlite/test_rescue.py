"""Damaged files: what can be read is saved, and the error says what and where."""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from ling_agent import StoreError
from ling_agent.memory import Entry
from ling_agent.memory.sqlite import SQLiteStore, rescue
from tests.memory.entries import log, observation

PAGE = 4096
ENTRIES = 60
RUNS = ["first", "second", "third"]

Logs = dict[str, list[Entry]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Logs]:
    """A file with runs, a fork, and a fork whose parent was deleted."""
    path = tmp_path_factory.mktemp("whole") / "runs.db"
    store = SQLiteStore(path)
    logs: Logs = {name: log(ENTRIES, name) for name in [*RUNS, "gone"]}
    for begin in range(0, ENTRIES, 10):  # rows of runs lie between each other
        for name, entries in logs.items():
            store.append(name, entries[begin : begin + 10], status="completed")
    store.append("first", [observation("big " * 5000 + os.urandom(9000).hex(), after=ENTRIES)])
    logs["first"] = list(store.load("first"))
    for name, parent in (("fork", "first"), ("orphan", "gone")):
        own = observation(f"of the {name}", after=30)
        store.fork(parent, name, 30)
        store.append(name, [own])
        logs[name] = [*logs[parent][:30], own]
    store.delete("gone")
    del logs["gone"]
    store.close()
    return path, logs


@pytest.fixture
def path(whole: tuple[Path, Logs], tmp_path: Path) -> Path:
    return Path(shutil.copy(whole[0], tmp_path / "runs.db"))


@pytest.fixture
def logs(whole: tuple[Path, Logs]) -> Logs:
    return whole[1]


def pages(path: Path, name: str) -> list[int]:
    """The pages of a table."""
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT pageno - 1 FROM dbstat WHERE name = ?", (name,)).fetchall()
    connection.close()
    return [number for (number,) in found]


def overwrite(path: Path, page: int, content: bytes | None = None) -> None:
    with open(path, "r+b") as file:
        file.seek(page * PAGE)
        file.write(random.Random(page).randbytes(PAGE) if content is None else content)


def used(path: Path) -> str:
    """Use all of a damaged file; the first error."""
    store = SQLiteStore(path)
    uses: list[Callable[[], object]] = [
        lambda: [store.load(run.run_id) for run in store.runs()],
        lambda: [store.search(name, "fork first second third") for name in RUNS],
        lambda: store.append("first", [observation("x", after=ENTRIES + 1)]),
    ]
    for use in uses:
        try:
            use()
        except StoreError as error:
            store.close()
            return str(error)
    raise AssertionError("no error")


def saved(path: Path) -> Logs:
    store = SQLiteStore(path)
    found = {run.run_id: list(store.load(run.run_id)) for run in store.runs()}
    for name in found:
        assert store.search(name, "text is read back") is not None
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    store.close()
    return found


def lost(found: list[Entry], whole: list[Entry]) -> int:
    """How many entries are lost; all others are what they were."""
    assert len(found) == len(whole)
    gone = 0
    for entry, expected in zip(found, whole, strict=True):
        if entry != expected:
            assert (entry.id, entry.kind) == (expected.id, "error")
            assert "lost" in entry.data["error"]
            gone += 1
    return gone


def test_without_damage_all_is_saved(path: Path, logs: Logs, tmp_path: Path) -> None:
    result = rescue(path, tmp_path / "new.db")
    assert (result.runs, result.lost) == (5, 0)
    assert saved(result.path) == logs
    store = SQLiteStore(result.path)
    assert [hit.entry for hit in store.search("orphan", "of the orphan", limit=1)] == [30]
    info = {run.run_id: run for run in store.runs()}
    assert (info["fork"].forked_from, info["fork"].status) == ("first", "interrupted")
    assert info["second"].status == "completed"
    store.close()


@pytest.mark.parametrize(
    "table", ["entries", "terms_data", "terms_idx", "pieces", "sqlite_autoindex_runs_1"]
)
def test_a_lost_root_of_a_table_loses_nothing(path: Path, logs: Logs, table: str) -> None:
    overwrite(path, pages(path, table)[0])
    content = path.read_bytes()
    error = used(path)
    assert re.search(r"runs\.db is damaged \(.*\): (\d+) of \1 entries of 5 runs were saved", error)
    assert str(path.with_name("runs.rescued-1.db")) in error
    assert "\n" not in error
    assert saved(path.with_name("runs.rescued-1.db")) == logs
    assert path.read_bytes() == content, "the damaged file is only read"


@pytest.mark.parametrize("content", [None, bytes(PAGE)])
def test_a_lost_page_of_entries_loses_those(path: Path, logs: Logs, content: bytes | None) -> None:
    overwrite(path, pages(path, "entries")[5], content)
    found = used(path), saved(path.with_name("runs.rescued-1.db"))
    gone = sum(lost(found[1][name], logs[name]) for name in logs)
    assert 0 < gone < 40
    assert "is damaged" in found[0]


def test_a_lost_table_of_runs_loses_names_only(path: Path, logs: Logs) -> None:
    overwrite(path, pages(path, "runs")[0])
    assert "is damaged" in used(path)
    found = saved(path.with_name("runs.rescued-1.db"))
    assert set(found) == {f"rescued-{number}" for number in range(1, 7)}
    for number, name in enumerate(RUNS, start=1):
        assert found[f"rescued-{number}"] == logs[name]


@pytest.mark.parametrize("length", [16, PAGE])
def test_a_lost_beginning_loses_nothing(
    path: Path, logs: Logs, tmp_path: Path, length: int
) -> None:
    overwrite(path, 0, b"x" * length)
    store = SQLiteStore(path)
    with pytest.raises(StoreError, match=r"rescue|rescued-1"):
        store.runs()
    store.close()
    result = rescue(path, tmp_path / "new.db")
    assert result.lost == 0
    assert saved(result.path) == logs


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_file_that_was_cut_loses_its_end(path: Path, logs: Logs, share: float) -> None:
    os.truncate(path, int(path.stat().st_size * share))
    assert "is damaged" in used(path)
    found = saved(path.with_name("runs.rescued-1.db"))
    gone = sum(lost(found[name], logs[name]) for name in logs)
    assert gone < sum(map(len, logs.values())) * (1.1 - share)


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bits_lose_the_entries_that_they_are_in(path: Path, logs: Logs, seed: int) -> None:
    numbers, content = random.Random(seed), bytearray(path.read_bytes())
    places = [p * PAGE + 2000 for p in numbers.sample(pages(path, "entries")[2:], 5)]
    for place in places:
        content[place] ^= 1 << numbers.randrange(8)
    path.write_bytes(content)
    error = used(path)
    assert "is damaged" in error
    found = saved(path.with_name("runs.rescued-1.db"))
    assert 1 <= sum(lost(found[name], logs[name]) for name in logs) <= 10


def test_other_runs_of_a_damaged_file_can_be_used(path: Path, logs: Logs) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE entries SET body = x'00' WHERE number = (1 << 32) + 40")
    connection.commit()
    connection.close()
    store = SQLiteStore(path)
    with pytest.raises(StoreError, match="the checksum of entry 40 is wrong"):
        store.load("first")
    assert list(store.load("second")) == logs["second"]
    assert list(store.load("fork")) == logs["fork"]
    with pytest.raises(StoreError, match=r"saved in .*runs\.rescued-1\.db before"):
        store.load("first")
    store.append("second", [observation("goes on", after=ENTRIES)])
    store.close()
    assert not path.with_name("runs.rescued-2.db").exists()


def test_what_is_written_after_a_rescue_is_rescued_anew(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE entries SET body = x'00' WHERE number = (1 << 32) + 40")
    connection.commit()
    connection.close()
    store = SQLiteStore(path)
    with pytest.raises(StoreError, match=r"rescued-1\.db"):
        store.load("first")
    old = path.with_name("runs.rescued-1.db")
    os.utime(old, (0, 0))
    with pytest.raises(StoreError, match=r"rescued-1\.db before.*save the newest state"):
        store.load("first")
    store.close()
    again = SQLiteStore(path)
    with pytest.raises(StoreError, match=r"rescued-2\.db"):
        again.load("first")
    again.close()


def test_a_rescue_overwrites_nothing(path: Path, tmp_path: Path) -> None:
    (tmp_path / "new.db").write_text("mine")
    with pytest.raises(StoreError, match="is there already"):
        rescue(path, tmp_path / "new.db")
    with pytest.raises(StoreError, match="is not a file"):
        rescue(tmp_path / "nothing.db", tmp_path / "other.db")
    (tmp_path / "noise.db").write_bytes(os.urandom(50_000))
    with pytest.raises(StoreError, match="nothing could be read"):
        rescue(tmp_path / "noise.db", tmp_path / "other.db")
    assert not (tmp_path / "other.db").exists()
