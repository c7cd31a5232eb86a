"""Makes `examples` importable however pytest is started."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = str(Path(__file__).parents[3])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)


@pytest.fixture
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run without an account, whatever the machine has."""
    monkeypatch.delenv("CLORE_API_KEY", raising=False)
