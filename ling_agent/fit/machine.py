"""The machine that is planned for: named cards, or this one as it is."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass

from .. import facts
from ..backends.embedded.system_memory import available_memory
from ..errors import ConfigurationError

_MIB = 1 << 20
_GB = 10**9
_MOST_GPUS = 1024
_QUERY = "--query-gpu=name,memory.total,compute_cap"


@dataclass(frozen=True, slots=True)
class Card:
    """A graphics card.

    Attributes:
        name: Title.
        memory: Bytes.
        bandwidth: Bytes a second; None where it is not known.
        capability: NVIDIA's compute capability; None where it is not known.
    """

    name: str
    memory: int
    bandwidth: int | None
    capability: float | None


@dataclass(frozen=True, slots=True)
class Machine:
    """What a model may use.

    Attributes:
        cards: Graphics cards; none for a machine that computes on its processor.
        ram: System memory in bytes; None where it was not said.
        ram_bandwidth: Bytes a second from it; an example, where it was not said.
    """

    cards: tuple[Card, ...]
    ram: int | None
    ram_bandwidth: int

    @property
    def memory(self) -> int:
        """Bytes on all cards."""
        return sum(card.memory for card in self.cards)

    @property
    def name(self) -> str:
        """``2 x H100 SXM``; ``CPU`` without a card."""
        if not self.cards:
            return "CPU"
        names = sorted({card.name for card in self.cards})
        if len(names) == 1 and len(self.cards) > 1:
            return f"{len(self.cards)} x {names[0]}"
        return " + ".join(names)


def named_machine(
    gpu: str, *, gpus: int = 1, ram: float | None = None, ram_bandwidth: float | None = None
) -> Machine:
    """A machine with so many cards of a name.

    Args:
        gpu: Any spelling; see `ling_agent.facts.gpu`.
        gpus: Cards.
        ram: System memory in GB.
        ram_bandwidth: GB/s from it.

    Raises:
        ConfigurationError: No such card, no card at all, or a size that cannot be.
    """
    if not 1 <= gpus <= _MOST_GPUS:
        raise ConfigurationError(
            f"--gpus {gpus} makes no machine: give 1 to {_MOST_GPUS}, or leave out --gpu for a CPU"
        )
    found = facts.gpu(gpu)
    card = Card(found.title, found.memory_bytes, found.bandwidth, found.compute_capability)
    return Machine((card,) * gpus, _bytes("--ram", ram), _bandwidth(ram_bandwidth))


def this_machine(*, ram: float | None = None, ram_bandwidth: float | None = None) -> Machine:
    """This machine: what nvidia-smi names, else processor and memory alone.

    Args:
        ram: System memory in GB; None takes what can be had now.
        ram_bandwidth: GB/s from it.

    Raises:
        ConfigurationError: A size that cannot be.
    """
    size = _bytes("--ram", ram)
    return Machine(
        tuple(_cards(_nvidia_smi())),
        available_memory() if size is None else size,
        _bandwidth(ram_bandwidth),
    )


def _bytes(option: str, gigabytes: float | None) -> int | None:
    if gigabytes is None:
        return None
    if not 0 < gigabytes < 1e9:
        raise ConfigurationError(f"{option} {gigabytes:g} is no size: give GB, for example 64")
    return round(gigabytes * _GB)


def _bandwidth(gigabytes: float | None) -> int:
    return _bytes("--ram-bandwidth", gigabytes) or facts.ram_bandwidth()


def _nvidia_smi() -> str:
    """What nvidia-smi says of the cards, a line each; empty where there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        ended = subprocess.run(
            [program, _QUERY, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ended.stdout if ended.returncode == 0 else ""


def _cards(text: str) -> list[Card]:
    """The cards of nvidia-smi's answer; lines that are none are passed over."""
    cards: list[Card] = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != 3 or not fields[1].isdecimal():
            continue
        bandwidth = capability = None
        with suppress(ConfigurationError):  # its size is known all the same
            bandwidth = facts.gpu(fields[0]).bandwidth
        with suppress(ValueError):
            capability = float(fields[2])
        cards.append(Card(fields[0], int(fields[1]) * _MIB, bandwidth, capability))
    return cards
