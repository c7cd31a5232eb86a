"""A real pseudo-terminal with a real ``ling-agent`` in it."""

from __future__ import annotations

import codecs
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from fcntl import ioctl
from pathlib import Path
from types import TracebackType
from typing import Any

import ling_agent

REPOSITORY = Path(ling_agent.__file__).parents[1]
GUARD = 30.0
"""Seconds after which a test that waits for a text has failed; it never decides otherwise."""
_PATIENCE = 5.0
CTRL_C = "\x03"
CTRL_D = "\x04"

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]")
# The process gets the terminal as its controlling one, so that Ctrl-C is a signal for it.
_LAUNCH = "import os, sys; os.login_tty(int(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])"


def environment(**variables: str) -> dict[str, str]:
    """The environment of a process that imports this package."""
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **variables}


class Terminal:
    """``ling-agent`` with these arguments in a terminal.

    Args:
        arguments: Of the command line.
        width: Columns.
        variables: Further environment variables.

    Attributes:
        raw: All output so far, with its control sequences.
    """

    def __init__(
        self, *arguments: str, width: int = 80, variables: Mapping[str, str] | None = None
    ) -> None:
        self._master, self._slave = pty.openpty()
        ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        self._before: list[Any] = termios.tcgetattr(self._slave)
        command: Sequence[str] = (sys.executable, "-m", "ling_agent", *arguments)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, str(self._slave), *command],
            pass_fds=(self._slave,),
            env=environment(**{"TERM": "xterm-256color", **(variables or {})}),
        )
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.raw = ""
        self._seen = 0

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self._slave)

    @property
    def text(self) -> str:
        """All output so far, without control sequences."""
        return _CONTROL.sub("", self.raw)

    def send(self, text: str) -> None:
        """Type."""
        if text == CTRL_C:
            self._let_it_wait()
        os.write(self._master, text.encode())

    def _let_it_wait(self) -> None:
        """Give the process the time to wait for something, as people do, where that can be seen.

        A signal that comes just before Python's ``input`` waits is only heard with the next key.
        """
        deadline = time.monotonic() + _PATIENCE
        stat = Path(f"/proc/{self.process.pid}/stat")
        quiet = 0
        while quiet < 3 and time.monotonic() < deadline and stat.exists():
            state = stat.read_text("ascii", "replace").rpartition(")")[2].split()[0]
            quiet = quiet + 1 if state == "S" else 0
            time.sleep(0.01)

    def enter(self, text: str) -> None:
        """Type a line, once the prompt is there."""
        self.wait_for("You       ")
        self.send(f"{text}\r")

    def wait_for(self, text: str) -> str:
        """Read until this text comes behind what was waited for last; returns what is before it."""
        deadline = time.monotonic() + GUARD
        while (at := self.text.find(text, self._seen)) < 0:
            if not self._read(deadline):
                raise AssertionError(f"{text!r} did not come behind {self.text[self._seen :]!r}")
        before = self.text[self._seen : at]
        self._seen = at + len(text)
        return before

    def leave(self) -> None:
        """End a chat as one does."""
        self.wait_for("You       ")
        self.send(CTRL_D)
        assert self.end() == 0

    def end(self) -> int:
        """Read to the end; returns the exit code. The terminal must be as it was."""
        deadline = time.monotonic() + GUARD
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"it has not ended: {self.text!r}")
            self._read(time.monotonic() + 0.05)
        while self._read(time.monotonic() + 0.05):
            pass
        assert termios.tcgetattr(self._slave) == self._before, "the terminal is not as it was"
        assert "Traceback" not in self.text, self.text
        return self.process.returncode

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            return False
        data = os.read(self._master, 65536)
        self.raw += self._decoder.decode(data)
        return bool(data)
