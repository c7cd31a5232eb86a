"""`Hider`: what a server was given in confidence stays out of everything that is shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from ..secrets import Redactor

if TYPE_CHECKING:
    from pydantic import SecretStr

Given: TypeAlias = "str | SecretStr"

_TELLING = re.compile(r"key|token|secret|passw|pwd|auth|cookie|credential", re.IGNORECASE)
_LINE_CHARS = 300


def reveal(value: Given) -> str:
    """The text itself, of a `SecretStr` or a plain one."""
    return value if isinstance(value, str) else value.get_secret_value()


def confidential(given: Mapping[str, Given]) -> list[str]:
    """The values that are secrets: each `SecretStr`, and texts whose name says so."""
    found: list[str] = []
    for name, value in given.items():
        if isinstance(value, str) and not _TELLING.search(name):
            continue
        text = reveal(value)
        found.append(text)
        # "Bearer abc": a server repeats the key alone.
        found.extend(text.split()[1:])
    return found


class Hider:
    """Replaces secrets by ``[secret]``."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._redactor = Redactor(secrets)

    def text(self, text: str) -> str:
        """`text` without secrets."""
        return self._redactor.text(text)

    def line(self, text: str) -> str:
        """`text` without secrets, on one line of at most 300 characters."""
        line = " ".join(self.text(text).split())
        return line if len(line) <= _LINE_CHARS else line[: _LINE_CHARS - 1] + "…"

    def value(self, value: Any) -> Any:
        """A JSON value without secrets, in its keys too."""
        return self._redactor.value(value)
