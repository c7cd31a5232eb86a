"""What the SDK logs: without secrets, without tracebacks, and never straight into the terminal."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator

from .hiding import Hider

# Those that write messages as they came, or the URL of a request; a filter is not inherited.
_LOGGERS = (
    "client",
    "httpx2",
    "mcp.client.stdio",
    "mcp.client.streamable_http",
    "mcp.shared.jsonrpc_dispatcher",
)


class _Filter(logging.Filter):
    """Takes the secrets of all open connections out of a record."""

    def __init__(self) -> None:
        super().__init__()
        self.hiders: list[Hider] = []

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record; it is always let through."""
        hiders = tuple(self.hiders)
        if not hiders:
            return True
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            # The traceback's last line, which is one for a program's output that is no message.
            text = f"{text}: {record.exc_info[1]}"
            record.exc_info, record.exc_text = None, None
        for hider in hiders:
            text = hider.text(text)
        record.msg, record.args = text, ()
        return True


_filter = _Filter()
for _name in _LOGGERS:
    logging.getLogger(_name).addFilter(_filter)
# Otherwise Python's last resort writes warnings into the terminal of whoever set up no logging.
for _name in ("mcp", "client"):
    logging.getLogger(_name).addHandler(logging.NullHandler())


@contextlib.contextmanager
def hidden_in_logs(hider: Hider) -> Generator[None, None, None]:
    """Keep the secrets out of what the SDK logs meanwhile."""
    _filter.hiders.append(hider)
    try:
        yield
    finally:
        _filter.hiders.remove(hider)
