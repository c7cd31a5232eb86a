"""A report as blocks of text, and the two forms in which it is written.

Every text in a block is shown as it is: what makes it safe is here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .texts import hypertext, markdown


@dataclass(frozen=True, slots=True)
class Heading:
    """A title; level 1 is that of the document."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of texts; `numbers` is from which column on they stand on the right."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: int = 1


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture.

    Attributes:
        svg: Its source, which is trusted.
        file: Name of the file beside a Markdown report that has it.
        text: What it shows, for those who cannot see it.
    """

    svg: str
    file: str
    text: str


Block = Heading | Paragraph | Table | Plot


def to_markdown(blocks: Sequence[Block]) -> str:
    """The document as GitHub's Markdown."""
    return "\n\n".join(map(_as_markdown, blocks)) + "\n"


def to_html(blocks: Sequence[Block]) -> str:
    """The document as one HTML page, which loads nothing and runs nothing."""
    title = next((block.text for block in blocks if isinstance(block, Heading)), "")
    body = "\n".join(map(_as_html, blocks))
    return _PAGE.format(title=hypertext(title), style=_STYLE, body=body)


def _as_markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {markdown(text)}"
        case Paragraph(text):
            return markdown(text)
        case Plot(_, file, text):
            return f"![{markdown(text)}]({file})"
        case Table(header, rows, numbers):
            line = ["---" if place < numbers else "---:" for place in range(len(header))]
            table = [[markdown(cell) for cell in row] for row in (header, *rows)]
            table.insert(1, line)
            return "\n".join(f"| {' | '.join(row)} |" for row in table)


def _as_html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{hypertext(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{hypertext(text)}</p>"
        case Plot(svg, _, _):
            return f"<figure>{svg}</figure>"
        case Table(header, rows, numbers):
            head = "".join(f"<th>{hypertext(cell)}</th>" for cell in header)
            body = "\n".join(_html_row(row, numbers) for row in rows)
            return (
                f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
                f"<tbody>\n{body}\n</tbody></table></div>"
            )


def _html_row(row: tuple[str, ...], numbers: int) -> str:
    cells = (
        f"<td{' class=number' if place >= numbers else ''}>{hypertext(cell)}</td>"
        for place, cell in enumerate(row)
    )
    return f"<tr>{''.join(cells)}</tr>"


_STYLE = """
body { font: 15px/1.5 sans-serif; margin: 2rem auto; max-width: 1100px; padding: 0 1rem;
  color: #222; background: #fff; }
h1, h2, h3 { line-height: 1.2; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border: 1px solid #ccc; padding: .3rem .6rem; text-align: left; vertical-align: top;
  white-space: pre-wrap; overflow-wrap: anywhere; }
th { background: #f2f2f2; overflow-wrap: normal; }
td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; overflow-x: auto; }
.wide { overflow-x: auto; }
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""
