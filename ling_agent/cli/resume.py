"""``ling-agent resume RUN_ID``: go on with a run that did not complete."""

from __future__ import annotations

import argparse
import shlex
from contextlib import closing
from typing import Any

from ..agent import Agent
from ..approvals import Approval
from ..errors import ConfigurationError
from ..memory import RunInfo
from .approving import approval_prompt, by_name, decisions_from, waiting_calls
from .common import (
    Subparsers,
    add_agent_options,
    add_run_options,
    agent_from,
    fetch_model,
    limits_from,
    to_text,
)
from .keeping import find, in_process, open_existing, telling
from .terminal import print_json, resuming, work


def add_parser(subparsers: Subparsers) -> None:
    """Add ``resume`` to the command line."""
    parser = subparsers.add_parser(
        "resume",
        help="go on with a run that did not complete",
        description="Go on with a run that a limit, a failure, Ctrl-C or a crash ended, or that "
        "waits for approval. Give the agent options that it was run with; it keeps the "
        "instructions that it began with.",
        epilog="Exit code: 0 completed, 1 ended by a limit or an error, 2 bad usage, "
        "130 interrupted.",
    )
    parser.add_argument("run_id", metavar="RUN_ID", help="name of the run, or of its session")
    add_agent_options(parser)
    add_run_options(parser)
    _add_decision_options(parser)
    parser.set_defaults(handler=resume)


def _add_decision_options(parser: argparse.ArgumentParser) -> None:
    for name, metavar, what in (
        ("approve", "CALL_ID", "run this call, which waits for approval; all: each that waits"),
        ("deny", "CALL_ID[=REASON]", "do not run this call, and tell the model why"),
        ("edit", "CALL_ID=JSON", "run this call with these arguments in place of its own"),
    ):
        parser.add_argument(
            f"--{name}",
            action="append",
            default=[],
            metavar=metavar,
            help=f"{what}; may be given several times",
        )


def resume(options: argparse.Namespace) -> int:
    """Go on; returns 0 when the run completed, else 1.

    Raises:
        ConfigurationError: There is no such file or run, or it has completed.
    """
    agent = agent_from(options)
    if in_process(agent):
        raise ConfigurationError(
            "say where the run is kept: --store FILE, or an --agent that keeps its runs in a file"
        )
    if options.store is not None:
        open_existing(options.store)
    run_id = to_text(options.run_id)
    limits = limits_from(options, agent)
    with closing(agent.memory.store) as store:
        info = find(store, run_id, options.store)
        if info.status == "completed":
            raise ConfigurationError(_completed(options, run_id))
        decisions = _decisions(options, agent, info)
        fetch_model(agent)
        with telling(options, agent, run_id):
            if options.json:
                result = print_json(
                    lambda token: agent.resume_sync(
                        run_id, approvals=decisions, limits=limits, cancel=token
                    )
                )
            else:
                begin = resuming(run_id, decisions)
                result = work(agent, begin, limits=limits, prompt=approval_prompt())
    return 0 if result.ok else 1


def _decisions(
    options: argparse.Namespace, agent: Agent[Any], info: RunInfo
) -> dict[str, Approval]:
    """Those that the options give; ``--approve all`` is for the calls without one of their own."""
    decisions = decisions_from(options.approve, options.deny, options.edit)
    if "all" not in options.approve:
        return decisions
    waiting = waiting_calls(agent.memory.store.load(info.run_id), by_name(agent.tools))
    if not waiting:
        raise ConfigurationError(f"--approve all: no call of run {info.run_id!r} waits")
    return {**dict.fromkeys(waiting, True), **decisions}


def _completed(options: argparse.Namespace, run_id: str) -> str:
    where = ("--store", options.store) if options.store else ("--agent", options.agent)
    further = shlex.join([*where, "--session", run_id])
    return f"run {run_id!r} has completed; for a new task: ling-agent run TASK {further}"
