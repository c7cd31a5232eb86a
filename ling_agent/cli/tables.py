"""Tables, and texts of others in them."""

from __future__ import annotations

import sys

from ..view import visible


def one_line(text: str, longest: int | None = None) -> str:
    """A text as a line that is safe to print, cut when it is longer."""
    line = visible(" ".join(text.split()))
    return line if longest is None or len(line) <= longest else line[: longest - 1] + "…"


def print_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """A rich table on a terminal; columns of plain text in a pipe, or without rich."""
    if sys.stdout.isatty():
        try:
            from rich.console import Console
            from rich.table import Table
            from rich.text import Text
        except ImportError:
            pass
        else:
            table = Table(*header)
            for row in rows:
                table.add_row(*map(Text, row))  # a str would be markup
            Console().print(table)
            return
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, *rows):
        cells = zip(row, widths, strict=True)
        print("  ".join(cell.ljust(width) for cell, width in cells).rstrip())
