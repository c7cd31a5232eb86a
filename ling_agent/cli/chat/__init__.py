"""``ling-agent chat``: a conversation in the terminal."""

from __future__ import annotations

import argparse
from contextlib import closing, suppress

from ...errors import LingAgentError
from ..approving import approval_prompt, asking
from ..common import Subparsers, add_agent_options, agent_from, fetch_model
from ..keeping import add_session_option, check_usable, in_process, session_from, tell
from .commands import NAMES
from .conversation import Conversation
from .history import History, history_file
from .loop import talk
from .reader import Reader

_SESSION = "chat"


def add_parser(subparsers: Subparsers) -> None:
    """Add ``chat`` to the command line."""
    parser = subparsers.add_parser(
        "chat",
        help="talk to an agent",
        description="Talk to an agent. Ctrl-D or /exit ends the conversation, /help lists the "
        "commands. While the agent works, Ctrl-C ends its answer, Ctrl-C again the run, and once "
        "more the program. With --store the next chat goes on.",
    )
    add_agent_options(parser)
    add_session_option(parser, _SESSION)
    parser.add_argument(
        "--no-history", action="store_true", help="neither read nor keep what is typed"
    )
    parser.set_defaults(handler=chat)


def chat(options: argparse.Namespace) -> int:
    """Talk until the input ends; returns 0.

    Raises:
        LingAgentError: What no further message can mend, like an unknown model.
        KeyboardInterrupt: Ctrl-C was pressed three times while the agent worked, or once where
            nobody types.
    """
    agent = agent_from(options)
    session = session_from(options, agent) or _SESSION
    kept = not in_process(agent)
    with closing(agent.memory.store) as store:
        if kept:
            check_usable(store, session)
        fetch_model(agent)
        prompt = approval_prompt()
        # Once, and not before each answer.
        conversation = Conversation(asking(agent, prompt), session, kept=kept, prompt=prompt)
        history = History(None if options.no_history else history_file())
        try:
            talk(conversation, Reader(history, NAMES))
        finally:
            # How it ended is told by others: what cannot be read now is no news.
            with suppress(LingAgentError):
                if conversation.kept:
                    tell(options, agent, conversation.session)
    return 0
