"""mkdocs hooks: take off the words that only tests/docs reads, which the renderer does not know."""

from __future__ import annotations

import re

_MARKED = re.compile(r"^( *`{3,}python)(?: (?:model|no-run))+ *$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: object) -> str:
    """The page with plain ``python`` fences."""
    return _MARKED.sub(r"\1", markdown)
