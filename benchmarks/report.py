"""The line that every benchmark's output begins with: what, when, on what."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from pathlib import Path

import ling_agent


def header(title: str, *distributions: str) -> str:
    """Title, date, versions and machine as Markdown.

    Args:
        title: What was measured.
        distributions: Installed distributions whose versions matter.
    """
    versions = [f"ling_agent {ling_agent.__version__}", f"Python {platform.python_version()}"]
    versions += [f"{name} {importlib.metadata.version(name)}" for name in distributions]
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    machine = f"{processor()}, {len(os.sched_getaffinity(0))} cores"
    return f"### {title}\n\n{today}; {', '.join(versions)}; {machine}."


def processor() -> str:
    """The processor's name as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
