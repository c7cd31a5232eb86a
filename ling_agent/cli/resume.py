"""``ling-agent resume RUN_ID``: go on with a run that did not complete."""

from __future__ import annotations

import argparse
import json
import shlex
from contextlib import closing

import anyio

from ..agent import Agent
from ..errors import ConfigurationError
from ..limits import Limits
from ..results import RunResult
from .common import (
    Subparsers,
    add_agent_options,
    add_run_options,
    agent_from,
    fetch_model,
    limits_from,
    result_to_json,
    to_text,
)
from .keeping import find, in_process, open_existing, telling


def add_parser(subparsers: Subparsers) -> None:
    """Add ``resume`` to the command line."""
    parser = subparsers.add_parser(
        "resume",
        help="go on with a run that did not complete",
        description="Go on with a run that a limit, a failure, Ctrl-C or a crash ended. Give the "
        "agent options that it was run with; it keeps the instructions that it began with.",
        epilog="Exit code: 0 completed, 1 ended by a limit or an error, 2 bad usage.",
    )
    parser.add_argument("run_id", metavar="RUN_ID", help="name of the run, or of its session")
    add_agent_options(parser)
    add_run_options(parser)
    parser.set_defaults(handler=resume)


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
        if find(store, run_id, options.store).status == "completed":
            raise ConfigurationError(_completed(options, run_id))
        fetch_model(agent)
        with telling(options, agent, run_id):
            result = anyio.run(_resumed, agent, run_id, limits, not options.json)
    if options.json:
        print(json.dumps(result_to_json(result)))  # ASCII: the same in every locale
    return 0 if result.ok else 1


async def _resumed(agent: Agent, run_id: str, limits: Limits, shown: bool) -> RunResult:
    if not shown:
        return await agent.resume(run_id, limits=limits)
    from ..events import RunFinished, StepStarted
    from ..view import RunView

    view = RunView()
    try:
        view.show(StepStarted(0))  # on a terminal: that the model is working
        result = await agent.resume(run_id, limits=limits)
        view.show(RunFinished(result))
    finally:
        view.close()
    return result


def _completed(options: argparse.Namespace, run_id: str) -> str:
    where = ("--store", options.store) if options.store else ("--agent", options.agent)
    further = shlex.join([*where, "--session", run_id])
    return f"run {run_id!r} has completed; for a new task: ling-agent run TASK {further}"
