"""Optional dependencies say how to get them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ling_agent import ConfigurationError
from ling_agent.extras import require


def test_what_is_installed_is_imported() -> None:
    assert require("json.decoder", extra="x", why="this").__name__ == "json.decoder"


def test_what_is_missing_names_the_extra() -> None:
    with pytest.raises(ConfigurationError, match=r"pip install 'ling-agent\[magic\]'") as caught:
        require("no_such_module_of_ours", extra="magic", why="magic")
    assert "\n" not in str(caught.value)


def test_a_module_that_misses_something_itself_is_not_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_extra.py").write_text("import no_such_module_of_theirs\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(ModuleNotFoundError, match="no_such_module_of_theirs"):
        require("broken_extra", extra="x", why="this")


def test_a_submodule_is_not_what_is_installed() -> None:
    with pytest.raises(ConfigurationError, match="this needs no_such_module_of_ours, which"):
        require("no_such_module_of_ours.part", extra="x", why="this")


def test_a_library_that_cannot_be_loaded_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_library.py").write_text(
        "raise RuntimeError('libgomp.so.1:\\n not found')\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with pytest.raises(ConfigurationError, match=r"cannot load broken_library \(libgomp.so.1: not"):
        require("broken_library", extra="x", why="this")
