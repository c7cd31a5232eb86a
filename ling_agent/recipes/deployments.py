"""The folder ``deploy``: recipes for the usual hardware, in the order of what they need.

``python -m ling_agent.recipes DIR`` writes it; a test compares the repository's with what would be
written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .choosing import make
from .launch import KEY
from .recipe import Recipe
from .wish import Wish
from .writing import write


@dataclass(frozen=True, slots=True)
class Deployment:
    """One class of hardware.

    Attributes:
        folder: Name of its folder.
        hardware: What it is, for people.
        wishes: What is served on it, a file each.
    """

    folder: str
    hardware: str
    wishes: tuple[Wish, ...]


def _everywhere(quant: str, gpu: str, gpus: int, context: int | None = None) -> tuple[Wish, ...]:
    """Ling-2.6-flash on every server that runs it."""
    return tuple(
        Wish(server, "ling-2.6-flash", quant=quant, gpu=gpu, gpus=gpus, context=context)
        for server in ("vllm", "sglang", "systemd")
    )


def _small(server: str) -> Wish:
    return Wish(server, "ling-mini-2.0", quant="q4_k_m", gpu="rtx-4090")


DEPLOYMENTS: tuple[Deployment, ...] = (
    Deployment("4x80gb", "4 cards with 80 GB", _everywhere("bf16", "h100", 4)),
    Deployment("2x80gb", "2 cards with 80 GB", _everywhere("fp8", "h100", 2)),
    Deployment("1x80gb", "1 card with 80 GB", _everywhere("int4", "h100", 1)),
    Deployment(
        "2x141gb", "2 cards with 141 GB, window 256K", _everywhere("bf16", "h200", 2, 262_144)
    ),
    Deployment("1x141gb", "1 card with 141 GB", _everywhere("fp8", "h200", 1)),
    Deployment("4x24gb", "4 cards with 24 GB", _everywhere("int4", "rtx-4090", 4)),
    Deployment("3x24gb", "3 cards with 24 GB", _everywhere("int4", "rtx-4090", 3)),
    Deployment(
        "1x24gb-and-ram",
        "1 card with 24 GB, experts in system memory",
        (
            Wish("llama.cpp", "ling-flash-2.0", quant="q4_k_m", gpu="rtx-4090"),
            Wish("systemd", "ling-flash-2.0", quant="q4_k_m", gpu="rtx-4090"),
        ),
    ),
    Deployment(
        "1x24gb", "1 card with 24 GB", (_small("llama.cpp"), _small("systemd"), _small("embedded"))
    ),
    Deployment("ollama", "Ollama", (Wish("ollama", "qwen3-8b", quant="q4_k_m", gpu="rtx-4090"),)),
)


def files() -> Mapping[str, str]:
    """Every file of the folder: path below it, with slashes, and text."""
    found = {f"{deployment.folder}/{recipe.file}": recipe.text for deployment, recipe in recipes()}
    return {**found, "README.md": _index()}


def recipes() -> Iterator[tuple[Deployment, Recipe]]:
    """Every recipe of the folder.

    Raises:
        ConfigurationError: By the facts of today one does not fit any more.
    """
    for deployment in DEPLOYMENTS:
        for wish in deployment.wishes:
            yield deployment, make(wish)


def write_all(folder: Path) -> None:
    """Write the folder, over what is there.

    Raises:
        ConfigurationError: A file cannot be written.
    """
    for name, text in files().items():
        write(folder / name, text, force=True)


def _index() -> str:
    rows = [
        f"| {deployment.hardware} | {recipe.launch.model.title}, "
        f"{recipe.launch.model.formats[recipe.launch.format].title} "
        f"| {recipe.launch.context:,} "
        f"| [{deployment.folder}/{recipe.file}]({deployment.folder}/{recipe.file}) |"
        for deployment, recipe in recipes()
    ]
    listed = "\n".join(rows)
    return f"""# Serving recipes

Made by `python -m ling_agent.recipes deploy`; change `ling_agent/recipes`, not these files. Each
file says in its first lines which `ling-agent recipe` makes it for other cards, models and windows,
what memory it takes, how it is started, and how a client connects. The page
[Serving](../docs/serving.md) goes through it step by step.

What fits is arithmetic. Nobody has started these on the cards that they name; the flags were read
by the servers' own parsers, in the versions that the files name.

| hardware | model | window | file |
|---|---|---|---|
{listed}

The key of a server is never in a file: set `{KEY}` before you start it, and where clients run.
"""
