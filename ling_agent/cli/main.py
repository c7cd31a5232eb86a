"""``ling-agent``: parse the arguments, call the subcommand, turn errors into exit codes.

Exit codes: 0 success, 1 the run did not complete, 2 bad usage or configuration, 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import LingAgentError
from . import chat, doctor, evaluate, fit, models, recipe, resume, run, runs, serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    _take_any_text()
    try:
        options = _parser().parse_args(arguments)
        code = int(options.handler(options))
        if sys.stdout is not None:  # pyright: ignore[reportUnnecessaryComparison]
            sys.stdout.flush()  # here, where an error can still be told
        return code
    except LingAgentError as error:
        return _fail(" ".join(str(error).split()))
    except KeyboardInterrupt:
        print("ling-agent: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        _drop_output()
        return 1
    except OSError as error:
        # Above all a full disk behind standard output: what the rest of the program meets it knows
        # better how to tell.
        _drop_output()
        return _fail(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ling-agent",
        description="Agents on Ling and other models that speak the Hermes tool format.",
    )
    parser.add_argument("--version", action="version", version=f"ling-agent {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in (run, chat, resume, runs, serve, models, fit, recipe, doctor, evaluate):
        module.add_parser(commands)
    return parser


def _fail(message: str) -> int:
    print(f"ling-agent: error: {message}", file=sys.stderr)
    return 2


def _take_any_text() -> None:
    """Characters that the locale does not have must not end a run: ``?`` stands for them."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _drop_output() -> None:
    """Nobody takes our output; Python would complain when it flushes the rest at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
