from __future__ import annotations

import os
import random
from collections.abc import Generator
from pathlib import Path

import pytest

from ling_agent.catalog import hub as hub_module

from .stand_in import StandInHub


@pytest.fixture
def data() -> bytes:
    """A model of 300,000 bytes that do not compress."""
    return b"GGUF" + random.Random(7).randbytes(299_996)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; no network, no settings of the machine, no waiting between attempts."""
    for name in ("HF_HUB_OFFLINE", "LING_AGENT_OFFLINE", "HF_TOKEN", "PIP_REQUIRE_VIRTUALENV"):
        monkeypatch.delenv(name, raising=False)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    settings = {
        "LING_AGENT_CACHE": str(tmp_path / "models"),
        "HF_HOME": str(tmp_path / "hf"),
        "HF_ENDPOINT": "http://127.0.0.1:9",  # nobody listens there
        "NO_PROXY": "127.0.0.1,localhost",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "PIP_CONFIG_FILE": os.devnull,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(hub_module, "_RETRY_DELAY", 0.01)
    return tmp_path / "models"


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """The directory that stands in for the package index."""
    return tmp_path / "wheels"


@pytest.fixture
def hub(data: bytes, monkeypatch: pytest.MonkeyPatch) -> Generator[StandInHub]:
    """A hub that has `data`; HF_ENDPOINT points to it."""
    with StandInHub(data) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


class Recorder:
    """A `Progress` that remembers; `interrupt_at` bytes stand for Ctrl-C."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        self.notes: list[str] = []
        self.started: list[tuple[str, int]] = []
        self.sizes: list[int] = []
        self.closed = 0
        self._interrupt_at = interrupt_at

    def start(self, label: str, total: int) -> None:
        self.started.append((label, total))

    def update(self, done: int) -> None:
        self.sizes.append(done)
        if self._interrupt_at is not None and done >= self._interrupt_at:
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        self.notes.append(text)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def leftovers(cache: Path) -> list[str]:
    """Files in the cache except locks: what a failed download must not leave behind."""
    if not cache.is_dir():
        return []
    files = (path.relative_to(cache) for path in cache.rglob("*") if path.is_file())
    return sorted(str(path) for path in files if path.parts[0] != ".locks")
