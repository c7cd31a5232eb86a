"""Runs that are kept in a file: their session, the file, and how to go on with one."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..agent import Agent
from ..errors import ConfigurationError, LingAgentError
from ..memory import InMemoryStore, RunInfo, Store
from ..resuming import check_resumable
from .approving import by_name, waiting_calls
from .common import to_text

if TYPE_CHECKING:
    from ..memory import SQLiteStore

_TO_GO_ON = ("agent", "store", "backend", "tools", "planning")
"""Options that a resumed run needs again; it keeps the instructions that it began with."""


def add_session_option(parser: argparse.ArgumentParser, default: str) -> None:
    """The option that `session_from` reads."""
    parser.add_argument(
        "--session",
        metavar="NAME",
        help=f"conversation to begin or to go on with, kept in the store (default {default})",
    )


def session_from(options: argparse.Namespace, agent: Agent[Any]) -> str | None:
    """The session that the options name, or None.

    Raises:
        ConfigurationError: An empty name, or nothing outlives the process that it could name.
    """
    if options.session is None:
        return None
    if not options.session.strip():
        raise ConfigurationError("the session is empty: give it a name")
    if in_process(agent):
        raise ConfigurationError(
            "--session names a conversation that is kept: add --store FILE, or give the agent "
            "of --agent memory=Memory(SQLiteStore(path))"
        )
    return to_text(options.session)


def in_process(agent: Agent[Any]) -> bool:
    """Whether the agent's runs end with the process."""
    return isinstance(agent.memory.store, InMemoryStore)


def open_existing(file: str) -> SQLiteStore:
    """The store in a file that is there: `SQLiteStore` would make one.

    Raises:
        ConfigurationError: There is no such file.
    """
    from ..memory import SQLiteStore

    if not file or "\0" in file or not Path(file).expanduser().exists():
        raise ConfigurationError(
            f"there is no file {file!r}: give the one that --store or SQLiteStore was given"
        )
    return SQLiteStore(file)


def find(store: Store, run_id: str, file: str | None) -> RunInfo:
    """What a store says about a run.

    Raises:
        ConfigurationError: It does not have it.
    """
    info = next((info for info in store.runs() if info.run_id == run_id), None)
    if info is None:
        where = f"in {file}" if file else "by this agent"
        hint = f"to see those that are: ling-agent runs {shlex.quote(file)}" if file else ""
        raise ConfigurationError(
            f"run {run_id!r} is not kept {where}: {hint or 'check the name, or give --store FILE'}"
        )
    return info


def check_usable(store: Store, run_id: str) -> None:
    """See that a run can be kept, before a model is fetched for it.

    Raises:
        ConfigurationError: Somebody has the run.
        StoreError: The store cannot be used.
    """
    _ = run_id in store  # first: a file of another program gets no claims beside it
    with store.claim(run_id):
        pass


@contextlib.contextmanager
def telling(
    options: argparse.Namespace, agent: Agent[Any], run_id: str
) -> Generator[None, None, None]:
    """Tell in the end, however that comes, how to go on with a run that has not completed."""
    try:
        yield
    finally:
        # How it ended is told by others: what cannot be read now is no news.
        with contextlib.suppress(LingAgentError):
            tell(options, agent, run_id)


def tell(options: argparse.Namespace, agent: Agent[Any], run_id: str) -> None:
    """Tell how to go on with a run, if it has not completed.

    Raises:
        LingAgentError: It is not kept, or cannot be read now.
    """
    store = agent.memory.store
    info = find(store, run_id, None)
    if info.status in ("completed", "running"):  # running: another process has it
        return
    trajectory = store.load(run_id)
    check_resumable(trajectory, run_id)
    given = [(name, getattr(options, name)) for name in _TO_GO_ON]
    words = [word for name, value in given if value is not None for word in (f"--{name}", value)]
    waiting: list[str] = []
    if info.status == "needs_approval":
        waiting = waiting_calls(trajectory, by_name(agent.tools))
        words += [word for call_id in waiting for word in ("--approve", call_id)]
    print(
        f"run {run_id} ended as {info.status}; "
        f"to go on: {shlex.join(['ling-agent', 'resume', run_id, *words])}",
        file=sys.stderr,
    )
    for call_id in waiting:
        print(
            f"in place of --approve {call_id}: --deny {call_id}=REASON, --edit {call_id}=JSON",
            file=sys.stderr,
        )
