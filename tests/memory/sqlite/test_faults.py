"""What can happen to a file: a full disk, no rights, locks, other files in its place."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ling_agent import StoreError
from ling_agent.memory.sqlite import SQLiteStore
from tests.memory.entries import log, observation
from tests.memory.processes import in_child

UNLIMITED = resource.RLIM_INFINITY


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "runs.db", timeout=0.1)
    yield store
    store.close()


def fill(store: SQLiteStore) -> tuple[int, str]:
    """Append until it fails; how many entries are kept, and the error."""
    entries = log(5000)
    for number in range(2, 5000, 10):
        try:
            store.append("a", entries[number : number + 10])
        except StoreError as error:
            return number, str(error)
    raise AssertionError("it never failed")


def test_a_file_that_may_not_grow_fails_whole_and_goes_on_later(store: SQLiteStore) -> None:
    def child() -> None:
        store.append("a", log(2))
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, UNLIMITED))
        length, error = fill(store)
        assert "then resume" in error
        assert "\n" not in error
        assert len(store.load("a")) == length
        assert len(store.search("a", "text", limit=9)) == 9
        resource.setrlimit(resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))
        store.append("a", [observation("room again", after=length)])
        assert store.load("a")[length].text == "room again"
        assert store.search("a", "room")[0].entry == length
        store.close()

    assert in_child(child) == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    if not mounted("-t", "tmpfs", "-o", "size=600k", "tmpfs", str(place)):
        pytest.skip("a small file system cannot be mounted here, which takes root")
    yield place
    subprocess.run(["umount", place], check=True)


def mounted(*options: str) -> bool:
    """Mount a file system; whether that is possible."""
    if shutil.which("mount") is None:
        return False
    return subprocess.run(["mount", *options], capture_output=True).returncode == 0


def test_on_a_full_disk_nothing_is_half_kept(small_disk: Path) -> None:
    store = SQLiteStore(small_disk / "runs.db")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(150_000))
    store.append("a", log(2))
    length, error = fill(store)
    assert "disk is full: free some space, then resume" in error
    assert len(store.load("a")) == length
    ballast.unlink()
    store.append("a", [observation("room again", after=length)])
    assert len(store.load("a")) == length + 1
    store.close()


def test_what_is_read_only_can_be_read_and_says_so(small_disk: Path) -> None:
    store = SQLiteStore(small_disk / "runs.db", timeout=0.1)
    with store.claim("a"):
        store.append("a", log(5, "lighthouse"))
    store.close()
    assert mounted("-o", "remount,ro", str(small_disk))
    assert len(store.load("a")) == 5
    assert len(store.search("a", "lighthouse")) == 5
    assert (store.runs()[0].run_id, store.runs()[0].status) == ("a", "interrupted")
    with pytest.raises(StoreError, match="read-only: change that, or choose another path"):
        store.append("a", [observation("x", after=5)])
    with pytest.raises(StoreError, match="cannot be opened to claim"), store.claim("a"):
        pass
    store.close()


def as_somebody_else(work: Callable[[Path], None]) -> int:
    """Do something in a child without rights, in a directory that all may read."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)

    def child() -> None:
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        work(directory)

    try:
        SQLiteStore(directory / "kept.db").append("a", log(3))
        for path in directory.iterdir():
            path.chmod(0o444)
        if os.getuid() != 0:
            directory.chmod(0o555)
        return in_child(child)
    finally:
        directory.chmod(0o755)
        shutil.rmtree(directory)


def test_without_rights_errors_say_so() -> None:
    def work(directory: Path) -> None:
        with pytest.raises(StoreError, match="Permission denied"):
            SQLiteStore(directory / "new.db").append("a", log(2))
        with pytest.raises(StoreError, match="Permission denied"):
            SQLiteStore(directory / "new" / "new.db").append("a", log(2))
        kept = SQLiteStore(directory / "kept.db", timeout=0.1)
        with pytest.raises(StoreError, match="cannot be used"):
            kept.append("b", log(2))

    assert as_somebody_else(work) == 0


def test_a_file_that_others_lock_is_waited_for_and_named(store: SQLiteStore) -> None:
    entries = log(3)
    store.append("a", entries[:2])
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"locked by another process for 0\.1 s: end that"):
        store.append("a", entries[2:])
    assert len(store.load("a")) == 2, "readers do not wait"
    other.execute("ROLLBACK")
    other.close()
    store.append("a", entries[2:])
    assert list(store.load("a")) == entries


@pytest.mark.parametrize("removed", ["runs.db", "runs.db*", "runs.db-wal", "runs.db-*"])
def test_a_removed_file_is_written_anew(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture, removed: str
) -> None:
    entries = log(6, "lighthouse")
    store.append("a", entries[:3])
    store.append("b", log(4))
    for path in store.path.parent.glob(removed):
        path.unlink()
    store.append("a", entries[3:5])
    assert "was removed while it was open" in caplog.text
    store.append("a", entries[5:])
    store.close()
    again = SQLiteStore(store.path)
    assert list(again.load("a")) == entries
    assert len(again.load("b")) == 4
    assert len(again.search("a", "lighthouse")) == 6
    again.close()
    assert {path.name for path in store.path.parent.iterdir()} == {"runs.db"}


def test_a_removed_directory_is_made_anew(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "place" / "runs.db")
    entries = log(4)
    store.append("a", entries[:2])
    shutil.rmtree(tmp_path / "place")
    store.append("a", entries[2:])
    store.close()
    assert list(store.load("a")) == entries
    store.close()


def test_a_removed_file_that_cannot_be_written_anew_is_an_error(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "place" / "runs.db")
    entries = log(4)
    store.append("a", entries[:2])
    shutil.rmtree(tmp_path / "place")
    (tmp_path / "place").write_text("in the way")
    with pytest.raises(StoreError, match="removed while it was open and cannot be written anew"):
        store.append("a", entries[2:])
    assert len(store.load("a")) == 2
    (tmp_path / "place").unlink()
    store.append("a", entries[2:])
    assert list(store.load("a")) == entries
    store.close()


def test_nothing_is_written_into_another_file_in_its_place(store: SQLiteStore) -> None:
    entries = log(4)
    store.append("a", entries[:2])
    aside = store.path.with_name("aside.db")
    store.path.rename(aside)
    store.path.write_text("mine")
    with pytest.raises(StoreError, match="replaced by another file"):
        store.append("a", entries[2:])
    assert store.path.read_text() == "mine"
    assert len(store.load("a")) == 2
    aside.replace(store.path)
    store.append("a", entries[2:])
    assert list(store.load("a")) == entries
    store.close()


@pytest.mark.parametrize("content", [b"notes, not a database\n" * 100, b"x"])
def test_a_file_that_is_no_database_is_refused_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    uses: list[Callable[[SQLiteStore], object]] = [
        lambda store: store.append("a", log(2)),
        lambda store: store.runs(),
    ]
    for use in uses:
        store = SQLiteStore(path)
        with pytest.raises(StoreError, match="not a SQLite database: choose another path"):
            use(store)
        store.close()
    assert path.read_bytes() == content


def test_a_database_of_another_program_is_refused_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE runs(x)")
    connection.commit()
    connection.close()
    content = path.read_bytes()
    store = SQLiteStore(path)
    with pytest.raises(StoreError, match="database of another program"):
        store.append("a", log(2))
    with pytest.raises(StoreError, match="database of another program"):
        store.load("a")
    store.close()
    assert path.read_bytes() == content


def test_an_empty_file_is_taken(tmp_path: Path) -> None:
    (tmp_path / "runs.db").touch()
    store = SQLiteStore(tmp_path / "runs.db")
    assert store.runs() == []
    store.append("a", log(2))
    assert len(store.load("a")) == 2
    store.close()


def test_a_directory_or_a_file_in_the_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a directory: give the path of a file in it"):
        SQLiteStore(tmp_path).append("a", log(2))
    with pytest.raises(StoreError, match="is a directory"):
        SQLiteStore(tmp_path).runs()
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="is not a directory: choose another path"):
        SQLiteStore(tmp_path / "file" / "runs.db").append("a", log(2))
