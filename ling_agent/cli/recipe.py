"""``ling-agent recipe``: how a model is served on some cards, as a file."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .common import Subparsers

if TYPE_CHECKING:
    from ..recipes import Recipe


def add_parser(subparsers: Subparsers) -> None:
    """Add ``recipe`` to the command line."""
    parser = subparsers.add_parser(
        "recipe",
        help="write what starts a server for a model on your cards",
        description="Write what starts a server for a model: a compose file (vllm), a script "
        "(sglang, llama.cpp), a note (ollama), a systemd unit, or a Python file (embedded). Its "
        "first lines say how it is started and how an agent connects.",
        epilog="Exit code: 0 done, 2 what was asked for does not fit or is not known. No file "
        "holds a key: the server's is taken from LING_AGENT_API_KEY.",
    )
    parser.add_argument(
        "--server",
        required=True,
        metavar="NAME",
        help="vllm, sglang, llama.cpp, ollama, systemd or embedded",
    )
    parser.add_argument("--model", required=True, metavar="NAME", help="such as ling-2.6-flash")
    parser.add_argument(
        "--quant", metavar="FORMAT", help="number format (default: the largest that fits)"
    )
    parser.add_argument(
        "--gpu", metavar="NAME", help="your card, such as h100 or rtx-4090; else nothing is checked"
    )
    parser.add_argument(
        "--gpus", type=int, default=1, metavar="N", help="number of cards (default %(default)s)"
    )
    parser.add_argument(
        "--ram",
        type=float,
        metavar="GB",
        help="system memory, for experts of llama.cpp (default 64)",
    )
    parser.add_argument(
        "--context", type=int, metavar="TOKENS", help="window (default: the model's, if it fits)"
    )
    parser.add_argument(
        "--concurrency", type=int, metavar="N", help="sequences at once (default: the server's)"
    )
    parser.add_argument("--port", type=int, metavar="P", help="default: the server's own")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write the file into this folder")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.add_argument("--json", action="store_true", help="print the recipe as JSON")
    parser.set_defaults(handler=recipe)


def recipe(options: argparse.Namespace) -> int:
    """Print the recipe, or write it; returns 0.

    Raises:
        ConfigurationError: What was asked for does not fit or is not known, or the file is there.
    """
    from .. import recipes

    made = recipes.make(
        recipes.Wish(
            options.server,
            options.model,
            quant=options.quant,
            gpu=options.gpu,
            gpus=options.gpus,
            context=options.context,
            concurrency=options.concurrency,
            port=options.port,
            ram=recipes.RAM if options.ram is None else options.ram,
        )
    )
    folder: Path | None = options.out
    path = None if folder is None else folder / made.file
    if path is not None:
        recipes.write(path, made.text, force=options.force)
    if options.json:
        print(json.dumps(to_json(made, path)))
    elif path is None:
        sys.stdout.write(made.text)
    else:
        _tell(made, path)
    return 0


def to_json(made: Recipe, path: Path | None) -> dict[str, object]:
    """The recipe for programs; `path` is that of the written file."""
    from ..recipes import KEY

    launch = made.launch
    return {
        "server": made.server,
        "model": launch.model.id,
        "format": launch.format,
        "gpu": made.gpu.id if made.gpu is not None else None,
        "gpus": launch.gpus,
        "context": launch.context,
        "concurrency": launch.parallel,
        "port": launch.port or None,
        "cpu_experts": launch.cpu_experts,
        "command": made.command,
        "file": made.file,
        "text": made.text,
        "path": str(path) if path is not None else None,
        "start": made.start,
        "doctor": made.doctor,
        "backend": made.backend,
        "agent": made.agent,
        "key": KEY if made.needs_key else None,
        "notes": made.notes,
    }


def _tell(made: Recipe, path: Path) -> None:
    """What was written, and what to do with it."""
    print(f"{path}: {made.title}")
    for note in made.notes:
        print(note)
    for step in made.steps:
        print(step)
