"""What an evaluation runs on, for the header of its results."""

from __future__ import annotations

import datetime
import functools
import hashlib
import os
import platform
from pathlib import Path
from typing import Any


def session() -> dict[str, Any]:
    """When, on what and by which code an evaluation is begun or gone on with."""
    return {
        "begun": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {
            "processor": _processor(),
            "cores": _cores(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "code": code_digest(),
    }


@functools.cache
def code_digest() -> str:
    """Digest of this package's source: two versions of a checkout have the same number."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
