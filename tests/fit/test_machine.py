"""The machine: named, or as nvidia-smi tells it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ling_agent.fit import named_machine, this_machine


def smi(folder: Path, script: str) -> None:
    """A stand-in for nvidia-smi: a program of that name that answers with fixed text."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return tmp_path


def test_cards_of_this_machine(folder: Path) -> None:
    smi(
        folder,
        "echo 'NVIDIA GeForce RTX 4090, 24564, 8.9'\n"
        "echo 'A card of tomorrow, 65536, [N/A]'\n"
        "echo 'what is this'",
    )
    machine = this_machine(ram=64)
    known, other = machine.cards
    assert (known.memory, known.bandwidth, known.capability) == (24564 << 20, 1008 * 10**9, 8.9)
    assert (other.memory, other.bandwidth, other.capability) == (65536 << 20, None, None)
    assert machine.ram == 64 * 10**9
    assert machine.name == "A card of tomorrow + NVIDIA GeForce RTX 4090"


@pytest.mark.parametrize("script", ["exit 9", "echo 'No devices were found'; exit 6", "echo"])
def test_without_a_card_it_is_the_processor(folder: Path, script: str) -> None:
    smi(folder, script)
    machine = this_machine()
    assert machine.cards == ()
    assert machine.name == "CPU"
    assert machine.ram is None or machine.ram > 0


def test_named_machines() -> None:
    machine = named_machine("4090", gpus=2, ram=128, ram_bandwidth=300)
    assert machine.name == "2 x RTX 4090"
    assert machine.memory == 2 * (24564 << 20)
    assert (machine.ram, machine.ram_bandwidth) == (128 * 10**9, 300 * 10**9)
