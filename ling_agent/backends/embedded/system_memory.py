"""How much of the system's memory this process can take, a container's limit included."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def available_memory(
    proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Bytes that can be taken without swapping; None where the system does not say.

    The smaller of ``MemAvailable`` and of what the control groups (version 2) of this process
    allow, a container's included: limit less use, where file pages that can be dropped do not
    count.

    Args:
        proc: Where procfs is.
        cgroup: Where the tree of control groups is.
    """
    found = [_system_memory(proc), *(_group_memory(path) for path in _groups(proc, cgroup))]
    known = [size for size in found if size is not None]
    return max(min(known), 0) if known else None


def _system_memory(proc: Path) -> int | None:
    kibibytes = _field(proc / "meminfo", "MemAvailable:")
    return None if kibibytes is None else kibibytes * 1024


def _groups(proc: Path, cgroup: Path) -> Iterator[Path]:
    """The folder of each control group that this process is in, the root's first."""
    yield cgroup
    own = next((line[3:] for line in _lines(proc / "self/cgroup") if line.startswith("0::")), "")
    parts = Path(own.strip().lstrip("/")).parts
    # A path that leads out of the container's own tree names nothing that can be seen here.
    if ".." not in parts:
        for depth in range(len(parts)):
            yield cgroup.joinpath(*parts[: depth + 1])


def _group_memory(group: Path) -> int | None:
    limit, used = _number(group / "memory.max"), _number(group / "memory.current")
    if limit is None or used is None:
        return None
    return limit - used + (_field(group / "memory.stat", "inactive_file") or 0)


def _number(path: Path) -> int | None:
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdecimal() else None


def _field(path: Path, name: str) -> int | None:
    for line in _lines(path):
        words = line.split()
        if len(words) > 1 and words[0] == name and words[1].isdecimal():
            return int(words[1])
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
