"""`StderrLog`: a server's stderr goes to logging, line by line, and its last line is kept."""

from __future__ import annotations

import logging
import os
import threading
from typing import TextIO

from .hiding import Hider

_log = logging.getLogger("ling_agent.mcp")
_JOIN_SECONDS = 2.0
_LONGEST_LINE = 65_536


class StderrLog:
    """A pipe whose writing end is the server's stderr, and the thread that reads it.

    A thread, because the end of a pipe can be awaited on no event loop of Windows.
    """

    def __init__(self, label: str, hider: Hider) -> None:
        self._label = label
        self._hider = hider
        self._last = ""
        self._closing = False
        read_end, write_end = os.pipe()
        self._read_end = read_end
        self.file: TextIO = os.fdopen(write_end, "w")
        self._thread = threading.Thread(
            target=self._read, name="ling-agent-mcp-stderr", daemon=True
        )
        self._thread.start()

    @property
    def last_line(self) -> str:
        """The last line that said something, without secrets; complete after `close`."""
        return self._last

    def close(self) -> None:
        """Read what has been written, and end. A process that still holds the pipe may write on."""
        self._closing = True
        # The byte wakes the thread where another process keeps the pipe open.
        self.file.write("\n")
        self.file.close()
        self._thread.join(_JOIN_SECONDS)

    def _read(self) -> None:
        rest = b""
        try:
            while chunk := os.read(self._read_end, 65_536):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._keep(line)
                if self._closing or len(rest) > _LONGEST_LINE:
                    self._keep(rest)
                    rest = b""
                if self._closing and chunk.endswith(b"\n"):
                    break
            self._keep(rest)
        finally:
            os.close(self._read_end)

    def _keep(self, line: bytes) -> None:
        text = self._hider.line(line.decode("utf-8", "replace"))
        if text:
            self._last = text
            _log.debug("%s wrote to stderr: %s", self._label, text)
