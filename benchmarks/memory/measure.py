"""The measurement: one long run, then what is asked of its store; the same run without a file."""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from . import steps
from .appending import Appended, append
from .peers import PEERS
from .processes import ask, report, serving
from .recall import Asked, recall

_BUILD = Path(__file__).resolve().parents[2] / "build"
_EARLY = slice(49, 150)
_LATE = 100
_RESUMES = 5
MEMORY_STEPS = 600


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU milliseconds of each step of a run."""

    ms: Sequence[float]

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Costs:
        """From what was spent up to each step."""
        return cls([(after - before) * 1e3 for before, after in pairwise(seconds)])

    @property
    def early(self) -> float | None:
        """Median of the steps 50 to 150."""
        return _median(self.ms[_EARLY])

    @property
    def late(self) -> float | None:
        """Median of the last 100 steps."""
        return _median(self.ms[-_LATE:])

    def first(self, count: int) -> Costs:
        """Of a part of the run."""
        return Costs(self.ms[: count - 1])


@dataclass(frozen=True, slots=True)
class LongRun:
    """What a run has cost and left.

    Attributes:
        told: What its process says: see `run`.
        seen: What the server says.
        file: Bytes of the store; 0 for the store of the process.
    """

    told: dict[str, Any]
    seen: dict[str, Any]
    file: int = 0

    @property
    def costs(self) -> Costs:
        """CPU by step."""
        return Costs.of(self.told["cpu"])

    @property
    def growth(self) -> float | None:
        """Resident megabytes that it has gained since step 100."""
        sizes = {int(step): size for step, size in self.told["resident"].items()}
        return (sizes[max(sizes)] - sizes[100]) / 1e6 if 100 in sizes else None

    @property
    def elsewhere(self) -> list[dict[str, Any]]:
        """Requests that lost their prefix without a compaction."""
        compacted = {compaction["step"] + 1 for compaction in self.told["compactions"]}
        return [c for c in self.seen["changed"] if c["record"] or c["request"] not in compacted]


@dataclass(frozen=True, slots=True)
class PeerRun:
    """Another library's memory on the same steps.

    Attributes:
        steps: How many it was given.
        costs: CPU by step.
        raw: Bytes of text.
        file: Bytes of its files.
        versions: Of its distributions.
    """

    steps: int
    costs: Costs
    raw: int
    file: int
    versions: dict[str, str]


@dataclass(slots=True)
class Figures:
    """All that was measured."""

    steps: int
    run: LongRun
    resumed: list[dict[str, Any]]
    exact: Asked
    paraphrase: Asked
    appended: Appended
    in_memory: LongRun
    peers: dict[str, PeerRun | None] = field(default_factory=dict[str, PeerRun | None])


@contextmanager
def folder(keep: Path | None) -> Generator[Path]:
    """Where the files are: on this checkout's disk, removed afterwards unless they are to stay."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    _BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="memory-", dir=_BUILD) as name:
        yield Path(name)


def measure(count: int, where: Path, *, peers: bool) -> Figures:
    """Make the run of so many steps and measure.

    Args:
        count: Steps.
        where: For the files.
        peers: Whether the peers that are installed have their turn.
    """
    _say("texts")
    for old in where.glob("*.db*"):  # of an earlier measurement that was kept
        old.unlink()
    texts, store = where / "steps.jsonl", where / "run.db"
    planted = steps.write(texts, count)
    run = _long_run(count, texts, store)
    _say("resume")
    resumed = [ask("resume", store) for _ in range(_RESUMES)]
    _say("recall")
    exact, paraphrase = recall(store, planted)
    _say("append")
    grown = where / "grown.db"
    shutil.copy(store, grown)
    appended = append(grown, where / "bare.db")
    _say("the same without a file")
    fewer = min(count, MEMORY_STEPS)
    in_memory = _long_run(fewer, texts, None)
    figures = Figures(count, run, resumed, exact, paraphrase, appended, in_memory)
    if peers:
        figures.peers = {name: _peer(name, count, texts) for name in PEERS}
    return figures


def _long_run(count: int, texts: Path, store: Path | None) -> LongRun:
    with serving(count) as url:
        told = ask("run", url, texts, store or "memory", count)
        seen = report(url)
    if told["status"] != "completed":
        raise RuntimeError(f"the run ended as {told['status']}: {told['error']}")
    return LongRun(told, seen, file_size(store) if store is not None else 0)


def file_size(store: Path) -> int:
    """Bytes of a store, with all files beside it."""
    return sum(file.stat().st_size for file in store.parent.glob(f"{store.name}*"))


def _peer(name: str, count: int, texts: Path) -> PeerRun | None:
    peer = PEERS[name]
    versions = peer.versions()
    if versions is None:
        return None
    _say(name)
    given = min(count, peer.most)
    told = ask("peers", name, texts, given)
    return PeerRun(given, Costs.of(told["cpu"]), told["raw"], told["file"], versions)


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _say(what: str) -> None:
    print(f"{what} …", file=sys.stderr, flush=True)
