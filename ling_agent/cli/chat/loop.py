"""Read, answer, and again; what can be mended by another message does not end a chat."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from functools import partial

from ...errors import ConfigurationError, LingAgentError
from ..interrupts import Leaving
from ..lines import typed
from ..tables import one_line
from .commands import run_command
from .conversation import Conversation
from .reader import Reader


def talk(conversation: Conversation, reader: Reader) -> None:
    """Talk until the input ends.

    Raises:
        ConfigurationError: What no further message can mend, like an unknown model.
        KeyboardInterrupt: See `chat`.
    """
    if conversation.prompt is not None and conversation.kept and conversation.waits():
        print(f"{one_line(conversation.session)}: the last answer waits for your approval")
        _answered(conversation.go_on)
    while (line := reader.read()) is not None:
        if line.startswith("/") and not line.startswith("//"):
            if not _done(conversation, line):
                return
        else:
            task = line.removeprefix("/") if line.startswith("//") else line
            _answered(partial(conversation.answer, task))


def _done(conversation: Conversation, line: str) -> bool:
    """Whether the conversation goes on behind a command."""
    try:
        return run_command(conversation, line)
    except LingAgentError as error:
        _tell(error)
    except KeyboardInterrupt:
        print()
    return True


def _answered(work: Callable[[], None]) -> None:
    try:
        work()
    except ConfigurationError:
        raise
    except LingAgentError as error:
        _tell(error)
    except (Leaving, OSError):  # nobody reads on, or the disk behind standard output is full
        raise
    except Exception as error:  # of the caller's code: a hook, a backend
        traceback.print_exc()
        told = one_line(f"{type(error).__name__}: {error}")
        print(f"ling-agent: error: {told}; the conversation goes on", file=sys.stderr)
    except KeyboardInterrupt:
        if not typed():
            raise
        print("interrupted", file=sys.stderr)


def _tell(error: LingAgentError) -> None:
    print(f"ling-agent: error: {one_line(str(error))}", file=sys.stderr)
