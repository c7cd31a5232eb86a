"""``ling-agent run TASK``: one task, shown while it is worked on."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

import anyio

from ..agent import Agent
from ..errors import ConfigurationError
from ..limits import Limits
from ..results import RunResult
from .common import Subparsers, add_agent_options, agent_from, fetch_model, result_to_json


def add_parser(subparsers: Subparsers) -> None:
    """Add ``run`` to the command line."""
    parser = subparsers.add_parser(
        "run",
        help="work on one task",
        description="Work on one task: plan, call tools, answer.",
        epilog="Exit code: 0 completed, 1 ended by a limit or an error, 2 bad usage.",
    )
    parser.add_argument(
        "task", metavar="TASK", help="what to do; - reads it from standard input, for long ones"
    )
    add_agent_options(parser)
    parser.add_argument("--max-steps", type=int, metavar="N", help="most messages of the model")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="for the whole run")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(handler=run)


def run(options: argparse.Namespace) -> int:
    """Run the task; returns 0 when it completed, else 1."""
    agent = agent_from(options)
    task = _task(options.task)
    given = {"max_steps": options.max_steps, "timeout": options.timeout}
    changes = {name: value for name, value in given.items() if value is not None}
    limits = dataclasses.replace(agent.limits, **changes)
    fetch_model(agent)
    if options.json:
        result = agent.run_sync(task, limits=limits)
        # ASCII: the same JSON in every locale.
        print(json.dumps(result_to_json(result)))
    else:
        result = anyio.run(stream_to_terminal, agent, task, limits)
    return 0 if result.ok else 1


def _task(text: str) -> str:
    """The task of the command line, checked before anything is downloaded for it."""
    if text == "-":
        text = sys.stdin.read() if sys.stdin else ""
    if not text.strip():
        raise ConfigurationError("the task is empty: say what the agent should do")
    # An argument that is not UTF-8 comes with lone surrogates, which nothing further on can encode.
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


async def stream_to_terminal(
    agent: Agent, task: str, limits: Limits | None = None, session: str | None = None
) -> RunResult:
    """Run a task and show it."""
    from ..view import RunView

    view = RunView()
    try:
        async with agent.stream(task, limits=limits, session=session) as run:
            async for event in run:
                view.show(event)
    finally:
        view.close()
    return run.result
