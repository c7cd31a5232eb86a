"""``ling-agent chat``: a conversation in the terminal."""

from __future__ import annotations

import argparse
import importlib
import sys
from contextlib import ExitStack, closing, suppress

import anyio

from ..agent import Agent
from ..errors import ConfigurationError, LingAgentError
from .common import Subparsers, add_agent_options, agent_from, fetch_model
from .keeping import add_session_option, check_usable, session_from, telling
from .run import stream_to_terminal

_SESSION = "chat"


def add_parser(subparsers: Subparsers) -> None:
    """Add ``chat`` to the command line."""
    parser = subparsers.add_parser(
        "chat",
        help="talk to an agent",
        description="Talk to an agent. An empty line, Ctrl-D or Ctrl-C ends the conversation; "
        "while the agent works, Ctrl-C ends its answer only. With --store the next chat goes on.",
    )
    add_agent_options(parser)
    add_session_option(parser, _SESSION)
    parser.set_defaults(handler=chat)


def chat(options: argparse.Namespace) -> int:
    """Talk until the input ends; returns 0.

    Raises:
        LingAgentError: What no further message can mend, like an unknown model.
    """
    agent = agent_from(options)
    session = session_from(options, agent) or _SESSION
    kept = options.session is not None or options.store is not None
    with closing(agent.memory.store) as store, ExitStack() as stack:
        if kept:
            check_usable(store, session)
        fetch_model(agent)
        if kept:
            stack.enter_context(telling(options, agent, session))
        if sys.stdin and sys.stdin.isatty():
            with suppress(ImportError):
                importlib.import_module("readline")  # gives input() arrow keys and a history
        # The terminal is read outside of any event loop: a thread that waits for input cannot be
        # ended.
        while task := _ask():
            _answer(agent, task, session)
    return 0


def _answer(agent: Agent, task: str, session: str) -> None:
    try:
        anyio.run(stream_to_terminal, agent, task, None, session)
    except ConfigurationError:
        raise
    except LingAgentError as error:
        print(f"ling-agent: error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        if not sys.stdin.isatty():
            raise
        print("interrupted; again to end the conversation", file=sys.stderr)


def _ask() -> str:
    if not sys.stdin:
        return ""
    try:
        return input("\nYou       ").strip()
    except (EOFError, KeyboardInterrupt):
        print()
        return ""
