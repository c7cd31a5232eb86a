"""CPU seconds of `import ling_agent` in fresh interpreters: `python -m benchmarks.import_time`.

The interpreter's own start is measured the same way and taken off. CPU time, because wall-clock
time on a busy machine says little; the first run of each writes the bytecode and is left out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

from .report import circumstances, header

STATEMENTS = {
    "import ling_agent": "import ling_agent",
    "from ling_agent import Agent, tool": "from ling_agent import Agent, tool",
    "one agent with one tool": (
        "from ling_agent import Agent, tool\n"
        "from ling_agent.testing import ScriptedBackend\n"
        "@tool\n"
        "async def add(a: int, b: int) -> int:\n"
        "    'Add.'\n"
        "    return a + b\n"
        "Agent(ScriptedBackend([]), tools=[add])"
    ),
    "import ling_agent.cli.main": "import ling_agent.cli.main",
}
_CLOCK = "import time; print(time.process_time())"


def cpu_seconds(code: str) -> float:
    """CPU seconds of a fresh interpreter, user and system, up to the end of the code."""
    command = [sys.executable, "-c", f"{code}\n{_CLOCK}"]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    return float(output.splitlines()[-1])


def measure(runs: int) -> dict[str, tuple[float, float, float]]:
    """Median, least and most CPU seconds of each statement, less an empty interpreter's median."""
    measured: dict[str, list[float]] = {name: [] for name in ["", *STATEMENTS]}
    for turn in range(runs + 1):
        for name, values in measured.items():  # in turn, so that a busy moment hits all of them
            seconds = cpu_seconds(STATEMENTS.get(name, ""))
            if turn:
                values.append(seconds)
    empty = statistics.median(measured.pop(""))
    return {
        name: (statistics.median(values) - empty, min(values) - empty, max(values) - empty)
        for name, values in measured.items()
    }


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description="CPU time of importing ling_agent.")
    parser.add_argument("--runs", type=int, default=10, help="fresh interpreters each")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    measured = measure(options.runs)
    if options.json:
        rows = {name: [round(value, 4) for value in values] for name, values in measured.items()}
        seen = circumstances("anyio", "pydantic", "httpx2")
        print(json.dumps({**seen, "runs": options.runs, "cpu_seconds_median_least_most": rows}))
        return
    print(header("Import time", "anyio", "pydantic", "httpx2"))
    print(f"\nCPU seconds of {options.runs} fresh interpreters each, less an empty one's.\n")
    print("| | median, s | least | most |\n|---|---|---|---|")
    for name, (median, least, most) in measured.items():
        print(f"| `{name}` | {median:.3f} | {least:.3f} | {most:.3f} |")


if __name__ == "__main__":
    main()
