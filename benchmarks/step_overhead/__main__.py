"""The command line of the benchmark; what it measures is in the package's docstring."""

from __future__ import annotations

import argparse
import json

from .measure import Crowd, Effort, crowd, measure
from .registry import ENTRIES, OURS, WAYS, Way
from .server import GAP_MS
from .table import HOW_TO_INSTALL, as_json, as_text


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in ENTRIES:
            raise argparse.ArgumentTypeError(f"no contender {name!r}; there are {_known()}")
    return names


def _known() -> str:
    return ", ".join(ENTRIES)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.step_overhead",
        description="Client CPU per model step of agent libraries against a scripted server.",
        epilog=f"{HOW_TO_INSTALL}\n\nA missed goal is printed; the exit code is 0 all the same.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--runs", type=_positive, default=3, metavar="N", help="in each round (default 3)"
    )
    parser.add_argument(
        "--rounds", type=_positive, default=5, metavar="N", help="turns of each (default 5)"
    )
    parser.add_argument(
        "--only", type=_names, metavar="A,B", default=list(ENTRIES), help=f"of {_known()}"
    )
    parser.add_argument(
        "--gap-ms", type=float, default=GAP_MS, metavar="MS", help="between chunks (default 1)"
    )
    parser.add_argument(
        "--at-once", type=int, default=200, metavar="N", help="runs at once (default 200; 0: none)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--verbose", action="store_true", help="show the libraries' own output")
    return parser.parse_args()


def main() -> int:
    """Measure and print; 0 whatever the figures are."""
    options = _options()
    effort = Effort(options.runs, options.rounds, options.gap_ms)
    rows = measure(options.only, effort, verbose=options.verbose)
    ours = next((row for row in rows if row.name == OURS), None)
    crowds: dict[Way, Crowd] = {}
    if ours and not ours.failure and options.at_once > 0:
        for way in WAYS:
            crowds[way] = crowd(OURS, way, options.at_once, verbose=options.verbose)
    if options.json:
        print(json.dumps(as_json(rows, crowds, effort), indent=1, ensure_ascii=False))
    else:
        print(as_text(rows, crowds, effort))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
