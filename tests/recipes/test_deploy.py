"""The folder ``deploy`` is what the command makes today, and nothing else."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from ling_agent.cli.main import main
from ling_agent.recipes import deployments

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def test_the_folder_is_what_would_be_written() -> None:
    kept = {
        file.relative_to(DEPLOY).as_posix(): file.read_text("utf-8")
        for file in DEPLOY.rglob("*")
        if file.is_file()
    }
    made = deployments.files()
    assert sorted(kept) == sorted(made)
    different = [name for name in made if kept[name] != made[name]]
    assert different == [], "write it anew: python -m ling_agent.recipes deploy"


def test_scripts_can_be_run() -> None:
    scripts = list(DEPLOY.rglob("*.sh"))
    assert scripts
    assert [script for script in scripts if not os.access(script, os.X_OK)] == []


@pytest.mark.parametrize("name", [name for name in deployments.files() if "/" in name])
def test_a_file_is_made_by_the_command_that_it_names(name: str, tmp_path: Path) -> None:
    text = (DEPLOY / name).read_text("utf-8")
    (line,) = [line for line in text.splitlines() if "Made by: " in line]
    program, *words = shlex.split(line.partition("Made by: ")[2])
    assert program == "ling-agent"

    assert main([*words, "--out", str(tmp_path)]) == 0

    (file,) = tmp_path.iterdir()
    assert (file.name, file.read_text("utf-8")) == (Path(name).name, text)


def test_the_hardware_of_the_facts_is_there() -> None:
    folders = {deployment.folder for deployment in deployments.DEPLOYMENTS}
    assert folders >= {"4x80gb", "2x80gb", "1x80gb", "2x141gb", "1x141gb", "3x24gb", "4x24gb"}
    assert folders >= {"1x24gb-and-ram", "1x24gb", "ollama"}
    by_folder = {place.folder: made for place, made in deployments.recipes()}
    assert by_folder["1x24gb-and-ram"].launch.cpu_experts > 0
    assert by_folder["1x24gb"].launch.cpu_experts == 0


def test_the_whole_folder_is_written(tmp_path: Path) -> None:
    deployments.write_all(tmp_path)
    deployments.write_all(tmp_path)  # over what is there
    written = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert written == set(deployments.files())
