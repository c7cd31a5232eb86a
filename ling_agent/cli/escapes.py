"""Texts of models where somebody decides about them: nothing is hidden, moved or reordered."""

from __future__ import annotations

import json
import unicodedata

# Control and format characters (those that change the direction of text, or have no width),
# surrogates, private and unassigned ones, separators of lines.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def escaped(text: str) -> str:
    """A text with JSON's escapes for what cannot be seen; tabs become spaces."""
    return "".join(map(_escaped, text.expandtabs(4)))


def json_text(value: object) -> str:
    """A value as JSON on one line, in which everything can be seen."""
    return "".join(map(_escaped, json.dumps(value, ensure_ascii=False)))


def _escaped(character: str) -> str:
    if character.isascii():
        return character if character.isprintable() else f"\\u{ord(character):04x}"
    if unicodedata.category(character) in _UNSEEN:
        return json.dumps(character)[1:-1]
    return character
