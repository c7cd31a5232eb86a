"""``ling-agent run TASK``: one task, shown while it is worked on."""

from __future__ import annotations

import argparse
import dataclasses
import json

import anyio

from ..agent import Agent
from ..limits import Limits
from ..results import RunResult
from .common import Subparsers, add_agent_options, agent_from, result_to_json


def add_parser(subparsers: Subparsers) -> None:
    """Add ``run`` to the command line."""
    parser = subparsers.add_parser(
        "run",
        help="work on one task",
        description="Work on one task: plan, call tools, answer.",
        epilog="Exit code: 0 completed, 1 ended by a limit or an error, 2 bad usage.",
    )
    parser.add_argument("task", metavar="TASK")
    add_agent_options(parser)
    parser.add_argument("--max-steps", type=int, metavar="N", help="most model requests")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="for the whole run")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(handler=run)


def run(options: argparse.Namespace) -> int:
    """Run the task; returns 0 when it completed, else 1."""
    agent = agent_from(options)
    given = {"max_steps": options.max_steps, "timeout": options.timeout}
    changes = {name: value for name, value in given.items() if value is not None}
    limits = dataclasses.replace(agent.limits, **changes)
    if options.json:
        result = agent.run_sync(options.task, limits=limits)
        print(json.dumps(result_to_json(result), ensure_ascii=False))
    else:
        result = anyio.run(stream_to_terminal, agent, options.task, limits)
    return 0 if result.ok else 1


async def stream_to_terminal(
    agent: Agent, task: str, limits: Limits | None = None, session: str | None = None
) -> RunResult:
    """Run a task and show it."""
    from ..view import RunView

    view = RunView()
    async with agent.stream(task, limits=limits, session=session) as run:
        async for event in run:
            view.show(event)
    return run.result
