"""200 clients that stream from one ``ling-agent serve`` process: ``python -m benchmarks.serve``.

Each client asks an agent that calls a tool and then writes an answer in pieces, by the clock. Every
event's number, order and text is checked, and the content byte for byte.

*Added latency* of a piece: from the moment at which the scripted model's schedule has it due until
its client has read and decoded it. It holds the server's way from the model to the socket, the wait
behind the pieces of others, the system, and the client's own reading; the clients are one process
on the same machine, which takes its share of the processor.

Three rounds: one to warm up, one that is measured, one in which 30 % of the clients leave at a
random place. What the server holds is compared with what it held after the first round: runs,
tasks, threads, sockets and resident memory.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import statistics
from typing import Any

from benchmarks.report import circumstances, header
from benchmarks.serving.clients import Load, Seen, read_streams
from benchmarks.serving.watching import Held, Watched, serving

LEAVING = 0.3
MEMORY = 1.1
"""Bound of the memory afterwards, of that before."""
_DISTRIBUTIONS = ("starlette", "uvicorn", "httptools", "anyio")


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """All rounds, and what the server held between them."""

    load: Load
    streamed: Seen
    leaving: Seen
    before: Held
    between: Held
    after: Held

    @property
    def errors(self) -> list[str]:
        """What was wrong with any stream."""
        return [*self.streamed.errors, *self.leaving.errors]

    @property
    def left_behind(self) -> dict[str, int]:
        """What the server holds more of than before."""
        names = ("runs", "tasks", "threads", "sockets")
        pairs = zip(self.after.counts, self.before.counts, strict=True)
        return {name: now - then for name, (now, then) in zip(names, pairs, strict=True)}

    @property
    def memory_ratio(self) -> float:
        """Resident memory afterwards, of that before."""
        return self.after.memory / self.before.memory

    @property
    def cpu_us(self) -> float:
        """Server CPU an event, in microseconds."""
        return (self.between.cpu - self.before.cpu) / max(self.streamed.events, 1) * 1e6


def measure(load: Load) -> Measured:
    """Start a server and make the three rounds."""
    with serving(load.clients + 16) as server:
        _round(server, load)
        before = server.settled(server.look())
        streamed = _round(server, load)
        between = server.settled(before)
        leaving = _round(server, load, LEAVING)
        after = server.settled(before)
    return Measured(load, streamed, leaving, before, between, after)


def _round(server: Watched, load: Load, leaving: float = 0.0) -> Seen:
    return asyncio.run(read_streams(server.port, load, leaving))


def percentiles(late: list[float]) -> dict[str, float]:
    """Added latency in milliseconds."""
    if len(late) < 2:
        return {}
    cuts = statistics.quantiles(late, n=1000, method="inclusive")
    return {
        name: round(value * 1e3, 2)
        for name, value in (
            ("p50", cuts[499]),
            ("p90", cuts[899]),
            ("p99", cuts[989]),
            ("p99.9", cuts[998]),
            ("max", max(late)),
        )
    }


def as_json(measured: Measured) -> dict[str, Any]:
    """Everything that was measured, and the circumstances."""
    return {
        **circumstances(*_DISTRIBUTIONS),
        **dataclasses.asdict(measured.load),
        "events": measured.streamed.events,
        "errors": measured.errors,
        "read": [measured.streamed.read, measured.leaving.read],
        "left": measured.leaving.left,
        "added_ms": percentiles(measured.streamed.late),
        "added_ms_leaving": percentiles(measured.leaving.late),
        "server_cpu_us_an_event": round(measured.cpu_us, 1),
        "left_behind": measured.left_behind,
        "memory_mb": [
            round(h.memory, 1) for h in (measured.before, measured.between, measured.after)
        ],
    }


def as_text(measured: Measured) -> str:
    """A table."""
    load, told = measured.load, as_json(measured)
    rate = load.clients / load.gap
    first, second = told["added_ms"], told["added_ms_leaving"]
    rows = [
        ("streams read to the end", *map(str, told["read"])),
        ("streams left by their client", "0", str(told["left"])),
        ("errors, lost or reordered events", *(str(len(s.errors)) for s in _rounds(measured))),
        ("events checked", *(f"{s.events:,}" for s in _rounds(measured))),
        *((f"added latency {n}, ms", str(first.get(n)), str(second.get(n))) for n in first),
        ("server CPU an event, µs", str(told["server_cpu_us_an_event"]), ""),
        (
            "left behind: runs, tasks, threads, sockets",
            "",
            str(tuple(told["left_behind"].values())),
        ),
        (
            f"resident memory, of {measured.before.memory:.1f} MB before",
            f"{measured.between.memory / measured.before.memory:.2f}",
            f"{measured.memory_ratio:.2f}",
        ),
    ]
    lines = [
        header("Streaming clients of ling-agent serve", *_DISTRIBUTIONS),
        "",
        f"{load.clients} clients at once, {load.pieces} pieces each, {load.gap * 1e3:g} ms apart: "
        f"{rate:,.0f} pieces a second.",
        "",
        "| | all read on | 30 % leave |",
        "|---|---:|---:|",
        *(f"| {' | '.join(row)} |" for row in rows),
        *(f"- {error}" for error in measured.errors[:10]),
    ]
    return "\n".join(lines)


def _rounds(measured: Measured) -> tuple[Seen, Seen]:
    return measured.streamed, measured.leaving


def main() -> int:
    """Measure and print; 1 when a stream was wrong or something was left behind."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description=__doc__)
    parser.add_argument("--clients", type=int, default=200, metavar="N", help="(default 200)")
    parser.add_argument("--pieces", type=int, default=150, metavar="N", help="(default 150)")
    parser.add_argument("--gap-ms", type=float, default=100, metavar="MS", help="(default 100)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    measured = measure(Load(options.clients, options.pieces, options.gap_ms / 1e3))
    print(json.dumps(as_json(measured)) if options.json else as_text(measured))
    wrong = measured.errors or any(measured.left_behind.values()) or measured.memory_ratio > MEMORY
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
