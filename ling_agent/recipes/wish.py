"""`Wish`: what somebody wants to serve, as names and numbers that nobody has looked at yet."""

from __future__ import annotations

from dataclasses import dataclass

RAM = 64.0
"""GB of system memory that a machine is taken to have when nobody says."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to serve, and on what.

    Attributes:
        server: ``vllm``, ``sglang``, ``llama.cpp``, ``ollama``, ``systemd`` or ``embedded``.
        model: Its name; see `ling_agent.facts`.
        quant: Number format; None for the largest that fits.
        gpu: Graphics card; without it nothing is checked for its size.
        gpus: Number of cards.
        context: Window of a sequence in tokens; None for the model's own, or what fits of it.
        concurrency: Sequences at the same time; None leaves it to the server.
        port: TCP port; None for the server's own.
        ram: System memory of the machine in GB, three quarters of which experts may take.
    """

    server: str
    model: str
    quant: str | None = None
    gpu: str | None = None
    gpus: int = 1
    context: int | None = None
    concurrency: int | None = None
    port: int | None = None
    ram: float = RAM
