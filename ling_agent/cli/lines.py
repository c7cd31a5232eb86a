"""Lines from the terminal, with whatever editing Python has: readline, libedit or none.

The terminal is read in the main thread and outside of any event loop. A thread that waits for input
could not be ended; in the main thread Ctrl-C ends `input`, which leaves the terminal as it was.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

Complete = Callable[[str], Sequence[str]]
"""From the line up to the cursor to what its last word may become."""


def interactive() -> bool:
    """Whether a person sees what is printed and can answer."""
    return typed() and bool(sys.stdout) and sys.stdout.isatty()


def typed() -> bool:
    """Whether the input comes from a terminal."""
    return bool(sys.stdin) and sys.stdin.isatty()


def line_editor() -> Any:
    """Python's ``readline`` module, set up; None where there is none or no terminal."""
    if not interactive():
        return None
    try:
        readline: Any = importlib.import_module("readline")
    except ImportError:
        return None
    readline.set_auto_history(False)  # an answer to a question is no message
    if "libedit" in (readline.__doc__ or ""):
        readline.parse_and_bind("bind ^I rl_complete")
    else:
        readline.parse_and_bind("tab: complete")
        readline.parse_and_bind("set enable-bracketed-paste on")
    return readline


def read_line(prompt: str, *, prefill: str = "", complete: Complete | None = None) -> str:
    """One line, without its end; a pasted text may be several.

    Args:
        prompt: What to print before it.
        prefill: What to put into the line, where it can be edited.
        complete: What Tab offers.

    Raises:
        EOFError: The input has ended.
        KeyboardInterrupt: Ctrl-C.
    """
    readline = line_editor()
    if readline is None:
        if typed():
            print(prompt, end="", file=sys.stderr, flush=True)  # standard output is read by others
        return input()
    readline.set_completer_delims(" ")
    readline.set_completer(_completer(readline, complete) if complete else _nothing)
    readline.set_startup_hook((lambda: _insert(readline, prefill)) if prefill else None)
    try:
        return input(prompt)
    finally:
        readline.set_startup_hook(None)


def forget_typed() -> None:
    """Drop what was typed before a question was asked: it is no answer to it."""
    with contextlib.suppress(ImportError):
        termios: Any = importlib.import_module("termios")
        with contextlib.suppress(termios.error, OSError, ValueError):
            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


def remember(text: str) -> None:
    """Have the arrow keys bring a text back, where they do and the locale has its characters."""
    readline = line_editor()
    if readline is not None:
        with contextlib.suppress(UnicodeEncodeError):
            readline.add_history(text)


def _insert(readline: Any, text: str) -> None:
    try:
        readline.insert_text(text)
    except UnicodeEncodeError:
        readline.insert_text("".join(c if c.isascii() else json.dumps(c)[1:-1] for c in text))


def _completer(readline: Any, complete: Complete) -> Callable[[str, int], str | None]:
    def offer(word: str, number: int) -> str | None:
        words = complete(readline.get_line_buffer()[: readline.get_endidx()])
        return words[number] if number < len(words) else None

    return offer


def _nothing(word: str, number: int) -> None:
    return None
