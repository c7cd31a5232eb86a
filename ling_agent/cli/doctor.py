"""``ling-agent doctor``: examine a running backend, and say which flag to change."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

import anyio

from ..agent import Agent
from .common import Subparsers, fetch_model

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status as Spinner

    from ..doctor import Finding

_STYLES = {"ok": "green", "warning": "yellow", "broken": "bold red", "unknown": "dim"}
_STATUS_WIDTH = 8
_CHECK_WIDTH = 16


def add_parser(subparsers: Subparsers) -> None:
    """Add ``doctor`` to the command line."""
    parser = subparsers.add_parser(
        "doctor",
        help="examine a server and say which flag to change",
        description="Examine a backend with about a dozen short requests: is it reachable, are "
        "calls read, forced and held to their schema, does its prefix cache give right answers, "
        "how fast is it. Each finding that is not ok names the flag to change.",
        epilog="Exit code: 0 nothing is broken, 1 something is, 2 bad usage. The API key is taken "
        "from LING_AGENT_API_KEY.",
    )
    parser.add_argument(
        "backend",
        metavar="BACKEND",
        help="for example vllm:http://localhost:8000, or llamacpp:<alias or path to a .gguf>",
    )
    parser.add_argument(
        "--gpu",
        metavar="NAME",
        help="what the server runs on, for example rtx-4090: the speed is then told beside what "
        "its memory allows; the embedded engine's is found by itself",
    )
    parser.add_argument(
        "--gpus", type=_count, default=1, metavar="N", help="how many of them (default: 1)"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(handler=doctor)


def _count(text: str) -> int:
    """A number of cards."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return number


def doctor(options: argparse.Namespace) -> int:
    """Examine it; returns 0, or 1 when something is broken.

    Raises:
        ConfigurationError: Not a backend string, or a card that nothing is known about.
        CatalogError: The file of an embedded model cannot be had.
    """
    from ..doctor import examine

    fetch_model(Agent(options.backend))
    view = _View(as_json=options.json)

    async def work() -> int:
        report = await examine(
            options.backend,
            gpu=options.gpu,
            gpus=options.gpus,
            on_check=view.working,
            on_finding=view.show,
        )
        view.close()
        if options.json:
            print(json.dumps(report.to_json()))  # ASCII: the same in every locale
        else:
            print(f"\n{report.summary()}")
        return 1 if report.broken else 0

    try:
        return anyio.run(work)
    finally:
        view.close()


class _View:
    """Shows findings as they come, and on a terminal what is being done."""

    def __init__(self, *, as_json: bool) -> None:
        from rich.console import Console

        self._silent = as_json
        # With --json standard output is for the JSON alone.
        self._console: Console = Console(highlight=False, stderr=as_json)
        self._spinner: Spinner | None = None
        self._server: str | None = None

    def working(self, server: str, check: str) -> None:
        """A check begins."""
        if not self._console.is_terminal or self._console.is_dumb_terminal:
            return
        text = f"{check} …"
        if self._spinner is None:
            self._spinner = self._console.status(text)
            self._spinner.start()
        self._spinner.update(text)

    def show(self, finding: Finding) -> None:
        """Print a finding."""
        if self._silent:
            return
        if finding.server != self._server:
            self._server = finding.server
            self._print(finding.server or "all servers", "bold")
        if self._console.is_terminal:
            self._console.print(_row(finding))
            return
        head = f"{finding.status:<{_STATUS_WIDTH}} {finding.check:<{_CHECK_WIDTH}}"
        print(f"{head} {finding.seen}", flush=True)
        if finding.fix:
            print(f"{'':<{len(head)}} -> {finding.fix}", flush=True)

    def close(self) -> None:
        """Take the line of progress away."""
        if self._spinner is not None:
            self._spinner.stop()
            self._spinner = None

    def _print(self, text: str, style: str) -> None:
        self._console.print(text, style=style, markup=False, soft_wrap=True)


def _row(finding: Finding) -> object:
    from rich.table import Table
    from rich.text import Text

    row = Table.grid(padding=(0, 1))
    row.add_column(width=_STATUS_WIDTH)
    row.add_column(width=_CHECK_WIDTH)
    row.add_column(ratio=1)
    seen = Text(finding.seen)
    if finding.fix:
        seen.append(f"\n→ {finding.fix}", style="cyan")
    row.add_row(Text(str(finding.status), style=_STYLES[finding.status]), finding.check, seen)
    return row
