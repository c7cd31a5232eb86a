"""The command line of the benchmark; what it measures is in the package's docstring."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .measure import folder, measure
from .table import HOW_TO_INSTALL, as_json, as_text


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory",
        description="What the memory of a long run costs, and whether it remembers.",
        epilog=f"{HOW_TO_INSTALL}\n\nA missed goal is printed; the exit code is 0 all the same.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--steps", type=_positive, default=3000, metavar="N", help="of the run (default 3000)"
    )
    parser.add_argument("--peers", action="store_true", help="other libraries' memory, too")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="put the files there, and leave them"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--verbose", action="store_true", help="show what was not found")
    return parser.parse_args()


def main() -> int:
    """Measure and print; 0 whatever the figures are."""
    options = _options()
    try:
        with folder(options.keep) as where:
            figures = measure(options.steps, where, peers=options.peers)
    except KeyboardInterrupt:
        return 130
    if options.json:
        print(json.dumps(as_json(figures), indent=1, ensure_ascii=False))
    else:
        print(as_text(figures, verbose=options.verbose))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
