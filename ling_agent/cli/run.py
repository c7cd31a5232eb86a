"""``ling-agent run TASK``: one task, shown while it is worked on."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import uuid
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import anyio

from ..documents import Document, read_documents
from ..errors import ConfigurationError
from ..results import RunResult
from .approving import approval_prompt
from .common import (
    Subparsers,
    add_agent_options,
    add_run_options,
    agent_from,
    fetch_model,
    limits_from,
    to_text,
)
from .keeping import add_session_option, check_usable, session_from, telling
from .tables import one_line
from .terminal import print_json, starting, work


def add_parser(subparsers: Subparsers) -> None:
    """Add ``run`` to the command line."""
    parser = subparsers.add_parser(
        "run",
        help="work on one task",
        description="Work on one task: plan, call tools, answer.",
        epilog="Exit code: 0 completed, 1 ended by a limit or an error, 2 bad usage, "
        "130 interrupted.",
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
            result = print_json(
                lambda token: agent.run_sync(
                    task, limits=limits, session=session, documents=documents, cancel=token
                )
            )
        else:
            begin = starting(task, session, documents)
            result = work(agent, begin, limits=limits, prompt=approval_prompt())
        if session is None:
            _tell_waiting(result)
    return 0 if result.ok else 1


def _tell_waiting(result: RunResult[Any]) -> None:
    """Tell that nobody can decide about the calls of a run that is not kept."""
    for call in result.pending_approvals:
        print(
            f"{one_line(call.name)} ({call.id}) needs approval, and the run ends with this "
            "process: with --store FILE it can be resumed",
            file=sys.stderr,
        )


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
