"""The cache directory: stamps, offline use, disks that are full or cannot be written."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ling_agent import catalog
from ling_agent.errors import CatalogError, DigestMismatch, DownloadError

from .conftest import Recorder, leftovers
from .stand_in import StandInHub, model_of, pull_in_process, write_wheels


def _put(cache: Path, data: bytes) -> Path:
    cache.mkdir(parents=True)
    file = cache / "tiny.gguf"
    file.write_bytes(data)
    return file


def test_file_put_there_by_hand_is_hashed_then_stamped(data: bytes, cache: Path) -> None:
    file = _put(cache, data)
    assert catalog.cached_path(model_of(data)) == file
    assert leftovers(cache) == ["tiny.gguf", "tiny.json"]


def test_stamp_spares_the_hashing(
    data: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _put(cache, data)
    assert catalog.cached_path(model_of(data)) == file

    def never(path: Path) -> str:
        raise AssertionError(f"{path} was hashed again")

    monkeypatch.setattr(catalog.cache, "sha256_of", never)
    assert catalog.cached_path(model_of(data)) == file


def test_changed_file_is_not_returned(data: bytes, cache: Path) -> None:
    file = _put(cache, data)
    model = model_of(data)
    assert catalog.cached_path(model) == file
    file.write_bytes(bytes(len(data)))
    os.utime(file, ns=(1, 1))
    assert catalog.cached_path(model) is None


def test_broken_stamp_is_no_stamp(data: bytes, cache: Path) -> None:
    file = _put(cache, data)
    (cache / "tiny.json").write_text('{"sha256": 1')
    assert catalog.cached_path(model_of(data)) == file


def test_verify_hashes_and_removes_what_differs(data: bytes, cache: Path) -> None:
    file = _put(cache, data)
    model = model_of(data)
    assert catalog.verify(model) == catalog.Verified("tiny", file, str(model.sha256), len(data))
    state = file.stat()
    file.write_bytes(bytes(len(data)))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))  # the stamp alone would not tell
    with pytest.raises(DigestMismatch, match="from the cache: expected"):
        catalog.verify(model)
    assert leftovers(cache) == []


def test_verify_of_nothing(data: bytes) -> None:
    with pytest.raises(CatalogError, match="run: ling-agent models pull tiny"):
        catalog.verify(model_of(data))


def test_damaged_file_is_replaced(
    hub: StandInHub, data: bytes, cache: Path, recorder: Recorder
) -> None:
    _put(cache, data[:1000])
    assert catalog.pull(model_of(data), progress=recorder).read_bytes() == data
    assert recorder.notes == ["the cached tiny is not verified; getting it again"]


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline(
    hub: StandInHub, data: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    model = model_of(data, parts=1)
    if how == "environment":
        monkeypatch.setenv("LING_AGENT_OFFLINE", "1")
    with pytest.raises(DownloadError, match=r"not in the cache .* downloads are off \(offline\)"):
        catalog.pull(model, offline=how == "argument")
    assert hub.downloads == []
    assert not cache.exists()
    _put(cache, data)
    assert catalog.pull(model, offline=True) == cache / "tiny.gguf"


def test_offline_with_a_damaged_file(data: bytes, cache: Path) -> None:
    _put(cache, data[:1000])
    with pytest.raises(DigestMismatch):
        catalog.pull(model_of(data), offline=True)


@pytest.mark.parametrize("where", ["file", "under a file", "proc"])
def test_unwritable_cache(
    hub: StandInHub, data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    blocker = tmp_path / "blocker"
    blocker.write_text("")
    paths = {"file": blocker, "under a file": blocker / "models", "proc": Path("/proc/ling_agent")}
    if where == "proc" and sys.platform != "linux":
        pytest.skip("no /proc")
    monkeypatch.setenv("LING_AGENT_CACHE", str(paths[where]))
    with pytest.raises(DownloadError) as caught:
        catalog.pull(model_of(data))
    message = str(caught.value)
    assert message.startswith(f"cannot write the model cache {paths[where]} (")
    assert "LING_AGENT_CACHE" in message
    assert "\n" not in message
    assert hub.downloads == []


def test_read_only_cache_is_enough_for_a_file_that_is_there(
    data: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _put(cache, data)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(catalog.cache, "write_stamp", refuse)
    assert catalog.pull(model_of(data)) == file


@pytest.mark.parametrize("source", ["hub", "mirror"])
def test_disk_that_is_too_small_is_found_before_the_download(
    hub: StandInHub, data: bytes, cache: Path, source: str
) -> None:
    hub.announced_size = 10**18  # the hub's own size counts, when it states one
    model = model_of(data, size=10**18, parts=1, hub=source == "hub")
    with pytest.raises(DownloadError) as caught:
        catalog.pull(model)
    assert "the disk is too full for tiny: " in str(caught.value)
    assert "000000000.0 GB needed in" in str(caught.value)
    assert "LING_AGENT_CACHE" in str(caught.value)
    assert leftovers(cache) == []
    assert hub.downloads == []


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is POSIX")
@pytest.mark.parametrize("source", ["hub", "mirror"])
def test_disk_that_fills_up_midway(
    hub: StandInHub, data: bytes, wheels: Path, cache: Path, source: str
) -> None:
    """RLIMIT_FSIZE makes write() itself fail (EFBIG), for every user and without a mount."""
    write_wheels(wheels, data, 3)  # a part fits, the whole does not
    model = model_of(data, hub=source == "hub", parts=0 if source == "hub" else 3)
    child = pull_in_process(model, FILE_LIMIT="150000")
    out, err = child.communicate(timeout=30)
    assert child.returncode == 2, out + err
    needed = "300.0 kB" if source == "hub" else "600.0 kB"  # the parts and the whole
    assert out.startswith(f"DownloadError: the disk is too full for tiny: {needed} needed in ")
    assert out.count("\n") == 1
    assert "Traceback" not in err
    assert leftovers(cache) == []


def test_progress_in_lines(capsys: pytest.CaptureFixture[str], hub: StandInHub) -> None:
    catalog.pull(model_of(hub.data), progress=catalog.terminal_progress())
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "tiny: 300.0 kB"
    assert lines[-1] == "tiny: 100 % of 300.0 kB"
    assert len(lines) <= 11


def test_progress_bar(capsys: pytest.CaptureFixture[str], hub: StandInHub) -> None:
    catalog.pull(model_of(hub.data), progress=catalog.RichProgress())
    assert "tiny" in capsys.readouterr().err


def test_recorder_is_a_progress() -> None:
    progress: catalog.Progress = Recorder()
    progress.close()
