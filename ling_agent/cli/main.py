"""``ling-agent``: parse the arguments, call the subcommand, turn errors into exit codes.

Exit codes: 0 success, 1 the run did not complete, 2 bad usage or configuration, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import LingAgentError
from . import chat, models, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="ling-agent",
        description="Agents on Ling and other models that speak the Hermes tool format.",
    )
    parser.add_argument("--version", action="version", version=f"ling-agent {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in (run, chat, models):
        module.add_parser(commands)
    options = parser.parse_args(arguments)
    try:
        return int(options.handler(options))
    except LingAgentError as error:
        print(f"ling-agent: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ling-agent: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Nobody reads our output; Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
