"""``ling-agent runs FILE``: list, show, export and delete runs that are kept in a file."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import sys
import time
from collections.abc import Generator
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from ..memory import RunInfo, delete_run, prune
from .common import Subparsers, to_text
from .keeping import find, open_existing
from .tables import one_line, print_table

if TYPE_CHECKING:
    from ..memory import SQLiteStore

_TASK_WIDTH = 60
_DAY = 86_400
_UNITS = ((_DAY, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def add_parser(subparsers: Subparsers) -> None:
    """Add ``runs`` to the command line; each action's ``handler`` takes the parsed arguments."""
    parser = subparsers.add_parser(
        "runs",
        help="list, show, export and delete kept runs",
        description="Runs and sessions that --store, or SQLiteStore, keeps in a file.",
        epilog="Exit code: 0 done, 2 error. Without an action the runs are listed.",
    )
    parser.add_argument("file", metavar="FILE", help="the file that --store was given")
    parser.set_defaults(handler=list_runs, json=False)
    actions = parser.add_subparsers(metavar="ACTION")

    listing = actions.add_parser("list", help="all runs, the one that was written to last first")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(handler=list_runs)

    showing = actions.add_parser("show", help="print a run's conversation")
    showing.add_argument("run_id", metavar="RUN_ID")
    showing.set_defaults(handler=show)

    exporting = actions.add_parser("export", help="print a run's trajectory as JSON lines")
    exporting.add_argument("run_id", metavar="RUN_ID")
    exporting.add_argument(
        "--openai", action="store_true", help="a JSON list of messages of OpenAI's API instead"
    )
    exporting.set_defaults(handler=export)

    deleting = actions.add_parser("delete", help="delete runs, without asking")
    deleting.add_argument("run_ids", nargs="+", metavar="RUN_ID")
    deleting.set_defaults(handler=delete)

    pruning = actions.add_parser("prune", help="delete old runs, and print their names")
    pruning.add_argument("--keep", type=int, metavar="N", help="keep the newest N")
    pruning.add_argument(
        "--older-than", type=float, metavar="DAYS", help="delete what was last written to before"
    )
    pruning.set_defaults(handler=prune_runs)


def list_runs(options: argparse.Namespace) -> int:
    """Print what is kept. Returns 0."""
    with _opened(options) as store:
        found = store.runs()
    if options.json:
        print(json.dumps([dataclasses.asdict(info) for info in found], indent=2))
    elif found:
        print_table(("run", "status", "steps", "age", "task"), [_row(info) for info in found])
    else:
        print(f"no run is kept in {options.file}", file=sys.stderr)
    return 0


def show(options: argparse.Namespace) -> int:
    """Print a conversation for people. Returns 0."""
    from .conversation import ConversationView

    with _opened(options) as store:
        info = find(store, to_text(options.run_id), options.file)
        trajectory = store.load(info.run_id)
    origin = f", forked from {one_line(info.forked_from)}" if info.forked_from else ""
    steps = f"{info.steps} step{'' if info.steps == 1 else 's'}"
    print(f"{one_line(info.run_id)}: {info.status}, {steps}, {_age(info)} ago{origin}\n")
    ConversationView().run(trajectory)
    return 0


def export(options: argparse.Namespace) -> int:
    """Print a run for programs, in ASCII: the same in every locale. Returns 0."""
    with _opened(options) as store:
        info = find(store, to_text(options.run_id), options.file)
        trajectory = store.load(info.run_id)
    if options.openai:
        print(json.dumps(trajectory.to_openai()))
        return 0
    for line in trajectory.to_jsonl().rstrip("\n").split("\n"):
        print(line if line.isascii() else json.dumps(json.loads(line)))
    return 0


def delete(options: argparse.Namespace) -> int:
    """Delete runs. Returns 0.

    Raises:
        ConfigurationError: One of them is not kept; none was deleted.
        StoreError: One is in use; those before it were deleted.
    """
    with _opened(options) as store:
        names = list(dict.fromkeys(map(to_text, options.run_ids)))
        for name in names:
            find(store, name, options.file)
        deleted = 0
        try:
            for name in names:
                if name in store:  # it may have gone with the run that it worked for
                    delete_run(store, name)
                deleted += 1
        finally:
            print(f"deleted {deleted} run{'' if deleted == 1 else 's'}")
    return 0


def prune_runs(options: argparse.Namespace) -> int:
    """Delete old runs and print their names. Returns 0.

    Raises:
        ConfigurationError: Neither option, or one that makes no sense.
    """
    keep, days = options.keep, options.older_than
    if keep is None and days is None:
        raise ConfigurationError("say what may go: --keep N, --older-than DAYS, or both")
    if days is not None and not (days >= 0 and math.isfinite(days)):
        raise ConfigurationError(f"--older-than {days:g}: give a number of days, from 0 on")
    with _opened(options) as store:
        gone = prune(store, keep=keep, older_than=None if days is None else days * _DAY)
    for run_id in gone:
        print(one_line(run_id))
    if not gone:
        print("no run was deleted", file=sys.stderr)
    return 0


@contextlib.contextmanager
def _opened(options: argparse.Namespace) -> Generator[SQLiteStore, None, None]:
    with contextlib.closing(open_existing(options.file)) as store:
        yield store


def _row(info: RunInfo) -> tuple[str, ...]:
    task = one_line(info.task, _TASK_WIDTH)
    return (one_line(info.run_id), info.status, str(info.steps), _age(info), task)


def _age(info: RunInfo) -> str:
    """Time since the newest entry, in its largest unit."""
    seconds = max(int(time.time() - info.updated), 0)
    size, unit = next((each for each in _UNITS if seconds >= each[0]), _UNITS[-1])
    return f"{seconds // size} {unit}"
