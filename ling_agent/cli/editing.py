"""Edit a text: on one line where that is possible, else in the user's editor."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from .lines import line_editor, read_line

_ONE_LINE = 300
"""Characters that can be edited well on one line."""


def edit(text: str) -> str:
    """What a person makes of a JSON text.

    Raises:
        ConfigurationError: The editor cannot be run.
        EOFError: The input has ended.
        KeyboardInterrupt: Ctrl-C.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if editor and (line_editor() is None or len(text) > _ONE_LINE):
        return _in_editor(editor, text)
    return read_line("JSON      ", prefill=text)


def _in_editor(editor: str, text: str) -> str:
    descriptor, name = tempfile.mkstemp(prefix="ling-agent-", suffix=".json")
    file = Path(name)
    try:
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text + "\n")
        with _ctrl_c_is_the_editors():
            code = subprocess.run([*shlex.split(editor), name], check=False).returncode
        if code:
            raise ConfigurationError(f"{editor} ended with exit code {code}")
        return file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{editor} cannot be used: {error}") from None
    finally:
        file.unlink(missing_ok=True)


@contextlib.contextmanager
def _ctrl_c_is_the_editors() -> Generator[None, None, None]:
    # Not SIG_IGN, which the editor would inherit.
    before: Any = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
