"""The line that every benchmark's output begins with: what, when, on what."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import ling_agent


def circumstances(*distributions: str) -> dict[str, Any]:
    """Date, versions and machine, for a benchmark's JSON.

    Args:
        distributions: Installed distributions whose versions matter.
    """
    versions = {"ling_agent": ling_agent.__version__, "Python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in distributions}
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": versions,
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
    }


def header(title: str, *distributions: str) -> str:
    """Title, date, versions and machine as Markdown.

    Args:
        title: What was measured.
        distributions: As for `circumstances`.
    """
    seen = circumstances(*distributions)
    versions = ", ".join(f"{name} {version}" for name, version in seen["versions"].items())
    machine = f"{seen['processor']}, {seen['cores']} cores"
    return f"### {title}\n\n{seen['date']}; {versions}; {machine}."


def processor() -> str:
    """The processor's name as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
