"""`JsonLines`: log records as one JSON object a line, for programs that collect them."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any


class JsonLines(logging.Formatter):
    """Formats a record; what a request or a run was has fields of its own, ``http`` and ``run``."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON in ASCII."""
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in ("http", "run"):
            fields: Any = getattr(record, name, None)
            if fields is not None:
                told[name] = fields
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, default=str)
