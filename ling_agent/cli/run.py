"""``ling-agent run TASK``: one task, shown while it is worked on."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import uuid
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import anyio

from ..agent import Agent
from ..documents import Document, read_documents
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
from .keeping import add_session_option, check_usable, session_from, telling


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
    add_session_option(parser, "a new one")
    parser.add_argument(
        "--document",
        action="append",
        default=[],
        metavar="PATH",
        help="text file that the task is about; may be given several times",
    )
    add_run_options(parser)
    parser.set_defaults(handler=run)


def run(options: argparse.Namespace) -> int:
    """Run the task; returns 0 when it completed, else 1."""
    agent = agent_from(options)
    task = _task(options.task)
    limits = limits_from(options, agent)
    documents = anyio.run(_documents, options.document)
    session = session_from(options, agent)
    if session is None and options.store is not None:
        session = uuid.uuid4().hex[:12]  # known before the run, to be told whatever ends it
    with closing(agent.memory.store) as store, ExitStack() as stack:
        if session is not None:
            check_usable(store, session)
        fetch_model(agent)
        if session is not None:
            stack.enter_context(telling(options, agent, session))
        if options.json:
            result = agent.run_sync(task, limits=limits, session=session, documents=documents)
            # ASCII: the same JSON in every locale.
            print(json.dumps(result_to_json(result)))
        else:
            result = anyio.run(stream_to_terminal, agent, task, limits, session, documents)
    return 0 if result.ok else 1


async def _documents(paths: list[str]) -> list[Document]:
    """The files' texts, read before anything is downloaded for them."""
    read = await read_documents([Path(path) for path in paths])
    return [dataclasses.replace(document, name=to_text(document.name)) for document in read]


def _task(text: str) -> str:
    """The task of the command line, checked before anything is downloaded for it."""
    if text == "-":
        text = sys.stdin.read() if sys.stdin else ""
    if not text.strip():
        raise ConfigurationError("the task is empty: say what the agent should do")
    return to_text(text)


async def stream_to_terminal(
    agent: Agent,
    task: str,
    limits: Limits | None = None,
    session: str | None = None,
    documents: Sequence[Document] = (),
) -> RunResult:
    """Run a task and show it."""
    from ..view import RunView

    view = RunView()
    try:
        async with agent.stream(task, limits=limits, session=session, documents=documents) as run:
            async for event in run:
                view.show(event)
    finally:
        view.close()
    return run.result
