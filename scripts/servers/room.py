"""Is this machine large enough for a server?

``python -m scripts.servers.room vllm|sglang`` exits with 3 and one line that says why, if not.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from .kinds import KINDS, Kind, servers_dir

MEMORY = 8 * 10**9
"""Bytes that have to be available: a server takes 5 GB, the tests and the weights' making more."""

DISK = 10 * 10**9
"""Bytes that have to be free for an environment, the weights, and what pip keeps meanwhile."""

DISK_INSTALLED = 2 * 10**9
"""The same for a server whose environment is there."""

TOO_SMALL = 3


def reason_against(kind: Kind) -> str | None:
    """Why the server does not fit on this machine, or None."""
    memory = free_memory()
    if memory < MEMORY:
        return f"{memory / 1e9:.1f} GB of memory are available, {MEMORY / 1e9:.0f} GB are needed"
    disk = free_disk(servers_dir())
    needed = DISK_INSTALLED if kind.marker.is_file() else DISK
    if disk < needed:
        return f"{disk / 1e9:.1f} GB of disk are free, {needed / 1e9:.0f} GB are needed"
    return None


def free_disk(path: Path) -> int:
    """Bytes free where `path` is, or will be."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def free_memory() -> int:
    """Bytes that a new process can have, of the machine or of its container's limit."""
    available = _first_numbers(Path("/proc/meminfo")).get("MemAvailable:", 0) * 1024
    limit = _number(Path("/sys/fs/cgroup/memory.max"))
    used = _number(Path("/sys/fs/cgroup/memory.current"))
    if limit is None or used is None:
        return available
    # The page cache counts as used, and is given up when memory is asked for.
    cache = _first_numbers(Path("/sys/fs/cgroup/memory.stat")).get("inactive_file", 0)
    return min(available, limit - used + cache)


def _first_numbers(path: Path) -> dict[str, int]:
    """Lines of "name number ..." as a table; empty where there is no such file."""
    try:
        lines = [line.split() for line in path.read_text("ascii").splitlines()]
    except OSError:
        return {}
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):  # no such file, or "max": no limit
        return None


def main() -> int:
    """Print why not, if so; returns the exit status."""
    parser = argparse.ArgumentParser(prog="scripts.servers.room", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    kind = KINDS[parser.parse_args().kind]
    reason = reason_against(kind)
    if reason is None:
        return 0
    print(f"{kind.title} does not fit on this machine: {reason}", flush=True)
    return TOO_SMALL


if __name__ == "__main__":
    sys.exit(main())
