"""`Reader`: messages and commands, from a person at a terminal or from a pipe."""

from __future__ import annotations

import glob
import os
import sys
from contextlib import suppress

from ..common import to_text
from ..lines import read_line, remember, typed
from .history import History

_PROMPT = "You       "
_MORE = "…         "
_HINT = "Ctrl-C again, Ctrl-D or /exit ends the conversation"


class Reader:
    """Reads one entry after the other.

    A line that ends with a backslash goes on in the next one, and a text that is pasted into a
    terminal with bracketed paste may have any number of lines.

    Args:
        history: What the arrow keys bring back.
        commands: Names that Tab completes.
    """

    def __init__(self, history: History, commands: tuple[str, ...] = ()) -> None:
        self._history = history
        self._commands = commands
        for entry in history.entries:
            remember(entry)

    def read(self) -> str | None:
        """The next entry; None when there is no more.

        At the prompt Ctrl-C drops what was typed; pressed again it ends the conversation.
        """
        pressed = False
        while True:
            try:
                text = to_text(self._entry()).strip()
            except EOFError:
                print()
                return None
            except KeyboardInterrupt:
                print()
                if pressed or not typed():
                    return None
                pressed = True
                print(_HINT, file=sys.stderr)
                continue
            if text or not typed():
                return self._taken(text)
            pressed = False

    def _taken(self, text: str) -> str | None:
        """An entry of a person is remembered, one of a pipe shown: nobody sees it typed."""
        if not text:
            return None
        if not typed():
            print(f"{_PROMPT}{text}")
            return text
        remember(text)
        self._history.add(text)
        return text

    def _entry(self) -> str:
        if not sys.stdin:
            raise EOFError
        print(flush=True)
        line = read_line(_PROMPT, complete=self.complete)
        while line.endswith("\\"):
            more = ""
            with suppress(EOFError):  # what there is counts
                more = read_line(_MORE)
            line = f"{line[:-1]}\n{more}"
        return line

    def complete(self, line: str) -> list[str]:
        """What the last word of a line may become: a command, or a file behind ``/save``."""
        name, space, rest = line.partition(" ")
        if not space:
            found = [f"{each} " for each in self._commands if each.startswith(name)]
            return found if name.startswith("/") else []
        if name.rstrip("!") != "/save" or " " in rest:
            return []
        pattern = glob.escape(os.path.expanduser(rest)) + "*"
        return [f"{path}/" if os.path.isdir(path) else path for path in sorted(glob.glob(pattern))]
