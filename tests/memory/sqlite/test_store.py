"""`SQLiteStore`: what all stores do, and what a file adds."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ling_agent import ConfigurationError, StoreError, Trajectory
from ling_agent.memory import Store
from ling_agent.memory.sqlite import SQLiteStore
from ling_agent.testing.conformance import StoreConformance
from tests.memory.entries import log, observation


class TestSQLiteStore(StoreConformance):
    @pytest.fixture(autouse=True)
    def _in_a_directory(self, tmp_path: Path) -> None:
        self.path = tmp_path / "runs.db"

    def make(self) -> Store:
        return SQLiteStore(self.path)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "runs.db")
    yield store
    store.close()


def test_another_store_of_the_file_has_it_at_once(store: SQLiteStore) -> None:
    entries = log(5, "lighthouse")
    store.append("a", entries[:3], status="running")
    other = SQLiteStore(store.path)
    assert list(other.load("a")) == entries[:3]
    other.append("a", entries[3:])
    other.close()
    assert list(store.load("a")) == entries
    assert len(store.search("a", "lighthouse")) == 5


def test_two_that_go_on_with_a_run_do_not_mix(store: SQLiteStore) -> None:
    store.append("a", log(2))
    first, second = observation("first", after=2), observation("second", after=2)
    other = SQLiteStore(store.path)
    other.append("a", [first])
    other.close()
    with pytest.raises(StoreError, match="another run of it has gone on"):
        store.append("a", [second])
    assert store.load("a")[2] == first


def test_the_file_is_its_owners_and_its_directory_is_made(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "new" / "deep" / "runs.db")
    with store.claim("a"):
        store.append("a", log(2))
        kinds = {
            path.name: stat.S_IMODE(path.stat().st_mode) for path in store.path.parent.iterdir()
        }
    assert set(kinds) >= {"runs.db", "runs.db-wal", "runs.db-claims"}
    assert set(kinds.values()) == {0o600}
    store.close()


def test_a_tilde_is_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert SQLiteStore("~/runs.db").path == tmp_path / "runs.db"


def test_asking_makes_no_file(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "runs.db")
    assert store.runs() == []
    assert "a" not in store
    assert store.search("a", "x") == []
    with pytest.raises(StoreError, match="not kept"):
        store.load("a")
    assert list(tmp_path.iterdir()) == []
    store.close()


@pytest.mark.parametrize("path", ["", ":memory:", "a\x00b"])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(ConfigurationError, match="needs the path of a file"):
        SQLiteStore(path)


def test_a_timeout_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="timeout is -1"):
        SQLiteStore(tmp_path / "runs.db", timeout=-1)


def test_data_that_is_not_json_is_refused_and_the_rest_stays(store: SQLiteStore) -> None:
    store.append("a", log(2))
    bad = Trajectory(store.load("a"))
    entry = bad.append("note", thing=object())
    with pytest.raises(StoreError, match="entry 2 cannot be kept, its data is not JSON"):
        store.append("a", [entry])
    assert len(store.load("a")) == 2


def test_one_bad_batch_of_many_fails_alone(store: SQLiteStore) -> None:
    """They are committed together when threads write at once."""
    refused: list[str] = []
    ready = threading.Barrier(16)

    def work(number: int) -> None:
        entries = log(3)
        ready.wait()
        for entry in entries if number % 2 else entries[1:]:
            try:
                store.append(str(number), [entry])
            except StoreError:
                refused.append(str(number))

    threads = [threading.Thread(target=work, args=[number]) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {run.run_id: run.entries for run in store.runs()} == {str(n): 3 for n in range(1, 16, 2)}
    assert set(refused) == {str(n) for n in range(0, 16, 2)}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(), max_size=40), st.text(st.characters(), max_size=400))
def test_any_text_comes_back(store: SQLiteStore, name: str, text: str) -> None:
    if name in store:
        store.delete(name)
    entry = observation(text)
    store.append(name, [entry])
    assert list(store.load(name)) == [entry]
    for hit in store.search(name, text):
        assert text[hit.offset : hit.offset + len(hit.text)] == hit.text


def test_an_observation_of_50_mb_is_kept_and_found(store: SQLiteStore) -> None:
    lines = "".join(
        f"{number}: nothing to see in this row of the report\n" for number in range(1000)
    )
    text = lines * 1100 + "the needle is golden"
    assert len(text) > 50_000_000
    store.append("a", [observation(text)])
    assert store.load("a")[0].text == text
    hit = store.search("a", "golden needle")[0]
    assert text[hit.offset :].endswith("golden")
    store.delete("a")
    assert store.runs() == []


def test_vacuum_gives_the_space_of_deleted_runs_back(store: SQLiteStore) -> None:
    store.append("a", log(500))
    store.append("b", log(5, "lighthouse"))
    store.vacuum()
    before = store.path.stat().st_size
    store.delete("a")
    store.vacuum()
    assert store.path.stat().st_size < before / 3
    assert len(store.search("b", "lighthouse")) == 5


def test_of_a_deleted_run_no_row_stays(store: SQLiteStore) -> None:
    import sqlite3

    big = observation("needle " * 100_000, after=300)  # of which no search has made an index
    store.append("a", [*log(300), big])
    store.fork("a", "b", 200)
    store.append("b", [observation("x", after=200)])
    store.delete("a")
    assert len(store.load("b")) == 201
    store.delete("b")
    store.close()
    connection = sqlite3.connect(store.path)
    for table in ("runs", "entries", "pieces", "unindexed", "terms_docsize"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
    connection.execute("INSERT INTO terms(terms) VALUES('integrity-check')")
    connection.close()


def test_a_run_goes_on_from_a_file_as_it_goes_through_jsonl(store: SQLiteStore) -> None:
    store.append("a", log(4))
    text = store.load("a").to_jsonl()
    store.append("copy", list(Trajectory.from_jsonl(text)))
    assert store.load("copy").to_jsonl() == text
