"""Files are written whole or not at all, and never over others."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from ling_agent.errors import ConfigurationError
from ling_agent.recipes import write


def test_it_makes_the_folder(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "compose.yaml"
    write(file, "services: {}\n")
    assert file.read_bytes() == b"services: {}\n"
    assert [each.name for each in file.parent.iterdir()] == ["compose.yaml"]


def test_a_script_can_be_run_other_files_not(tmp_path: Path) -> None:
    for name in ("sglang.sh", "compose.yaml"):
        write(tmp_path / name, "#\n")
    assert os.access(tmp_path / "sglang.sh", os.X_OK)
    assert not (tmp_path / "compose.yaml").stat().st_mode & 0o111


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text("mine")
    with pytest.raises(ConfigurationError, match="is there already: --force replaces it"):
        write(file, "new")
    assert file.read_text() == "mine"
    write(file, "new", force=True)
    assert file.read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_broken_link_is_a_file_that_is_there(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="is there already"):
        write(file, "new")
    assert not (tmp_path / "elsewhere").exists()


def test_one_that_comes_up_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "compose.yaml"
    link = os.link

    def late(source: Any, target: Any) -> None:
        file.write_text("theirs")
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(ConfigurationError, match="is there already"):
        write(file, "new")
    assert file.read_text() == "theirs"
    assert len(list(tmp_path.iterdir())) == 1


def test_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Any, target: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write(tmp_path / "compose.yaml", "new")
    assert (tmp_path / "compose.yaml").read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text("old")

    def half(self: Path, text: str, **options: Any) -> int:
        self.write_bytes(text[: len(text) // 2].encode())
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    for force in (False, True):
        name = file if force else tmp_path / "other.yaml"
        with pytest.raises(ConfigurationError, match="cannot be written: No space left"):
            write(name, "new text", force=force)
    assert file.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["compose.yaml"]


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(ConfigurationError, match="is a file: name a folder"):
        write(tmp_path / "out" / "compose.yaml", "new")
    with pytest.raises(ConfigurationError, match="cannot be written: Not a directory"):
        write(tmp_path / "out" / "deeper" / "compose.yaml", "new")
