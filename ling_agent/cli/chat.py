"""``ling-agent chat``: a conversation in the terminal."""

from __future__ import annotations

import argparse
import sys

import anyio

from ..errors import LingAgentError
from .common import Subparsers, add_agent_options, agent_from
from .run import stream_to_terminal


def add_parser(subparsers: Subparsers) -> None:
    """Add ``chat`` to the command line."""
    parser = subparsers.add_parser(
        "chat",
        help="talk to an agent",
        description="Talk to an agent. An empty line, Ctrl-D or Ctrl-C ends the conversation.",
    )
    add_agent_options(parser)
    parser.set_defaults(handler=chat)


def chat(options: argparse.Namespace) -> int:
    """Talk until the input ends; returns 0."""
    agent = agent_from(options)
    # The terminal is read outside of any event loop: a thread that waits for input cannot be ended.
    while task := _ask():
        try:
            anyio.run(stream_to_terminal, agent, task, None, "chat")
        except LingAgentError as error:
            print(f"ling-agent: error: {error}", file=sys.stderr)
    return 0


def _ask() -> str:
    try:
        return input("\nYou     ").strip()
    except (EOFError, KeyboardInterrupt):
        return ""
