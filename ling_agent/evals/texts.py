"""Texts of models in reports: nothing in them is markup, hidden, moved or loaded from elsewhere."""

from __future__ import annotations

import html
import re
import unicodedata

# Control and format characters (those that change the direction of text, or have no width),
# surrogates, private and unassigned ones, separators of lines.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# The last two are what GitHub makes links of by itself.
_MARKDOWN = re.compile(r"[\\`*_{}\[\]<>#|!~&$@]|:(?=//)|(?<=www)\.", re.IGNORECASE)


def visible(text: str) -> str:
    """A text in which everything can be seen: escapes in place of what cannot."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_seen, text))


def one_line(text: str, longest: int | None = None) -> str:
    """A text as one line that is safe to print, cut when it is longer."""
    line = visible(" ".join(text.split()))
    return line if longest is None else cut(line, longest)


def cut(text: str, longest: int) -> str:
    """The beginning of a text that is too long."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def markdown(text: str) -> str:
    """A text as Markdown that shows it, on one line: also inside a table."""
    return _MARKDOWN.sub(r"\\\g<0>", one_line(text))


def hypertext(text: str) -> str:
    """A text as HTML that shows it, with its line breaks; also inside an attribute."""
    lines = re.split(r"\r\n|\r|\n", text.expandtabs(4))
    return "\n".join(html.escape(visible(line), quote=True) for line in lines)


def _seen(character: str) -> str:
    if unicodedata.category(character) not in _UNSEEN:
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
