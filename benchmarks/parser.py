"""Cost of the Hermes parser: one call whose arguments are 1 kB to 1 MB long, and many short calls.

Run with `python -m benchmarks.parser [--json]`. Measured are the whole text in one `feed` and the
text in chunks of 4 characters, about what a token is. Linear means that time(2n) / time(n) stays
near 2: in chunks, and for many calls in one piece too. (One long string in one piece is a few
calls into C, whose times show the processor's caches.) The bound on the cost of a token is for
arguments; `calls` shows what a short call of 15 tokens costs on top.
Exit code 1 when the flatness or the cost per token is out of its bound.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from dataclasses import asdict, dataclass

from ling_agent.hermes import CallParsed, HermesParser, render_call

from .report import circumstances, header

SIZES = tuple(1024 * 2**power for power in range(11))
TOKEN_CHARS = 4
ROUNDS = 5
MAX_RATIO = 2.3
MAX_MICROSECONDS = 5.0
CALLS = "calls"
_LINE = 'def f(x):\n    return {"k": x < 0}  # "quoted" \\\\ and </tool_call>\n'
_PROSE = "The quick brown fox jumps over the lazy dog; naïve café, 東京. "


@dataclass(frozen=True, slots=True)
class Row:
    """One size: characters of the call, seconds for both ways, and what follows from them."""

    kind: str
    chars: int
    whole_ms: float
    chunked_ms: float
    whole_ratio: float | None
    ratio: float | None
    us_per_token: float


def call_text(kind: str, size: int) -> str:
    """A `write_file` call whose arguments are about `size` characters of JSON, or many calls."""
    if kind == CALLS:
        call = render_call("search", {"a": "x"}) + "\n"
        return call * max(1, size // len(call))
    unit = _LINE if kind == "code" else _PROSE
    content = unit * max(1, size // len(json.dumps(unit)))
    return render_call("write_file", {"path": "big.py", "content": content})


def chunks_of(text: str) -> list[str]:
    return [text[at : at + TOKEN_CHARS] for at in range(0, len(text), TOKEN_CHARS)]


def seconds(chunks: list[str]) -> float:
    """CPU seconds for one message; garbage collection is off so that it is not measured."""
    gc.collect()
    gc.disable()
    try:
        start = time.process_time()
        parser = HermesParser()
        done = False
        for chunk in chunks:
            for event in parser.feed(chunk):
                done = done or isinstance(event, CallParsed)
        parser.finish()
        elapsed = time.process_time() - start
    finally:
        gc.enable()
    if not done:
        raise SystemExit("the benchmark's own call was not parsed")
    return elapsed


def best(pieces: dict[int, list[str]], rounds: int) -> dict[int, float]:
    """The best time of each size; the sizes take turns, so that a slow moment hits all of them."""
    times: dict[int, float] = {}
    for _ in range(rounds):
        for size, chunks in pieces.items():
            times[size] = min(seconds(chunks), times.get(size, float("inf")))
    return times


def measure(kind: str) -> list[Row]:
    texts = {size: call_text(kind, size) for size in SIZES}
    whole = best({size: [text] for size, text in texts.items()}, ROUNDS)
    pieces = {size: chunks_of(text) for size, text in texts.items()}
    chunked = best(pieces, ROUNDS)
    return [
        Row(
            kind=kind,
            chars=len(texts[size]),
            whole_ms=whole[size] * 1e3,
            chunked_ms=chunked[size] * 1e3,
            whole_ratio=doubled(whole, size) if kind == CALLS else None,
            ratio=doubled(chunked, size),
            us_per_token=chunked[size] / len(pieces[size]) * 1e6,
        )
        for size in SIZES
    ]


def doubled(times: dict[int, float], size: int) -> float | None:
    """time(size) / time(size / 2)"""
    return times[size] / times[size // 2] if size // 2 in times else None


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", action="store_true", help="print one JSON object")
    as_json: bool = options.parse_args().json
    rows = [row for kind in ("prose", "code", CALLS) for row in measure(kind)]
    ratios = [ratio for row in rows for ratio in (row.ratio, row.whole_ratio) if ratio is not None]
    worst_ratio = max(ratios)
    worst_cost = max(row.us_per_token for row in rows if row.kind != CALLS)
    head = {
        **circumstances(),
        "worst_ratio": round(worst_ratio, 2),
        "worst_us_per_token": round(worst_cost, 2),
    }
    if as_json:
        print(json.dumps({**head, "rows": [asdict(row) for row in rows]}, indent=1))
    else:
        print(header("Hermes parser") + "\n")
        print(
            f"{'text':>6}{'chars':>10}{'whole ms':>10}{'2n/n':>7}"
            f"{'4-char ms':>11}{'2n/n':>7}{'µs/token':>10}"
        )
        for row in rows:
            whole, ratio = ("" if r is None else f"{r:.2f}" for r in (row.whole_ratio, row.ratio))
            print(
                f"{row.kind:>6}{row.chars:>10}{row.whole_ms:>10.3f}{whole:>7}"
                f"{row.chunked_ms:>11.3f}{ratio:>7}{row.us_per_token:>10.2f}"
            )
        print(f"worst time(2n)/time(n) {worst_ratio:.2f} (bound {MAX_RATIO})")
        print(f"worst cost of a token of arguments {worst_cost:.2f} µs (bound {MAX_MICROSECONDS})")
    return 0 if worst_ratio < MAX_RATIO and worst_cost < MAX_MICROSECONDS else 1


if __name__ == "__main__":
    raise SystemExit(main())
