"""The texts of a docstring: what the tool does, and what each parameter means."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DocTexts:
    """`description` without the sections; `parameters` from name to one line of text."""

    description: str = ""
    parameters: dict[str, str] = field(default_factory=dict[str, str])


def read_docstring(docstring: str | None) -> DocTexts:
    """Read a Google, NumPy or Sphinx docstring; the style is found out.

    A docstring that no style fits is taken as it stands.
    """
    if not docstring or not docstring.strip():
        return DocTexts()
    text = inspect.cleandoc(docstring)
    # Imported here: it costs 20 ms, and a program may have no tool with a docstring.
    import docstring_parser

    try:
        parsed = docstring_parser.parse(text)
    except docstring_parser.ParseError:
        return DocTexts(text)
    parts = [part.strip() for part in (parsed.short_description, parsed.long_description) if part]
    parameters = {
        _bare_name(name): " ".join(param.description.split())
        for param in parsed.params
        if param.description and param.description.strip()
        for name in param.arg_name.split(",")  # NumPy: `x, y : int`
    }
    # A summary that goes on in the next line is one paragraph.
    gap = "\n\n" if parsed.blank_after_short_description else "\n"
    return DocTexts(gap.join(parts), parameters)


def _bare_name(name: str) -> str:
    """`**extra` and Sphinx's escaped `\\*\\*extra` are the parameter `extra`."""
    return name.replace("\\", "").lstrip("*").strip()
