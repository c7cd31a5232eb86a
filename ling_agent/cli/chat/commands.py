"""The commands of a chat: what begins with a slash is for the program, and not for the agent."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio

from ...agent import Agent
from ...errors import ConfigurationError
from ...results import Usage
from ...tools import Tool
from ...tools.source import ToolSource
from ...view import visible
from ..approving import by_name
from ..common import to_text
from ..tables import one_line, print_table
from .conversation import Conversation
from .saving import save


@dataclass(frozen=True, slots=True)
class Command:
    """A command: what it takes, what it is for, and what it does with a conversation.

    Attributes:
        argument: What it takes, for the help; empty when it takes nothing.
        help: What it is for.
        act: Does it, and prints.
    """

    argument: str
    help: str
    act: Callable[[Conversation, str], None]


def run_command(conversation: Conversation, line: str) -> bool:
    """Do what a line with a slash at its beginning says.

    Returns:
        False when the conversation is to end.

    Raises:
        LingAgentError: There is no such command, or it cannot be done.
    """
    name, _, argument = line.partition(" ")
    if name == "/exit":
        return False
    if name == "/save!":
        name, argument = "/save", f"{argument} !"
    if name not in COMMANDS:
        raise ConfigurationError(_unknown(name))
    command, argument = COMMANDS[name], argument.strip()
    if argument and not command.argument:
        raise ConfigurationError(f"{name} takes nothing behind it")
    command.act(conversation, argument)
    return True


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, NAMES, n=3, cutoff=0.5)
    meant = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(NAMES)}"
    shown = one_line(name, 40)
    return f"{shown} is no command: {meant} (/{shown} is a message)"


def _help(conversation: Conversation, argument: str) -> None:
    rows = [(f"{name} {command.argument}", command.help) for name, command in COMMANDS.items()]
    for left, right in (*rows, ("/exit", "end the conversation; so does Ctrl-D"), *_KEYS):
        print(f"{left:<16}{right}".rstrip())


_KEYS = (
    ("//…", "a message that begins with a slash"),
    ("…\\", "a backslash at the end of a line: the message goes on in the next one"),
    ("Ctrl-C", "ends the answer; again: the run; once more: the program"),
)


def _tools(conversation: Conversation, argument: str) -> None:
    tools = by_name(conversation.agent.tools) | anyio.run(_from_sources, conversation.agent)
    if not tools:
        print("the agent has no tools")
        return
    rows = [
        (one_line(name), _approval(tool), one_line(tool.description.partition("\n")[0], 60))
        for name, tool in sorted(tools.items())
    ]
    print_table(("tool", "approval", "what it does"), rows)


async def _from_sources(agent: Agent[Any]) -> dict[str, Tool[..., Any]]:
    """The tools that a run would get from elsewhere, like an MCP server."""
    found: dict[str, Tool[..., Any]] = {}
    for source in agent.tools:
        if isinstance(source, ToolSource):
            async with source.opened() as tools:
                found |= by_name(tools)
    return found


def _approval(tool: Tool[..., Any]) -> str:
    if callable(tool.requires_approval):
        return "sometimes"
    return "always" if tool.requires_approval else ""


def _plan(conversation: Conversation, argument: str) -> None:
    plan = conversation.plan()
    print(visible(str(plan)) if plan is not None else "there is no plan yet")


def _usage(conversation: Conversation, argument: str) -> None:
    last = conversation.last
    if last is None:
        print("there is no answer yet")
        return
    columns = [_figures(last.usage), _figures(conversation.spent)]
    names = ("prompt tokens", "of them cached", "generated", "tokens/s", "model requests")
    names += ("tool calls", "seconds")
    header = ("", "last answer", f"all {conversation.answers} of this chat")
    print_table(header, list(zip(names, *columns, strict=True)))
    use = last.context
    if use is not None:
        print(f"context window: {_filled(use.tokens, use.window)} (counted by {use.source})")


def _figures(usage: Usage) -> tuple[str, ...]:
    speed = usage.decode_tokens_per_second
    return (
        f"{usage.prompt_tokens:,}",
        "unknown" if usage.cached_tokens is None else f"{usage.cached_tokens:,}",
        f"{usage.completion_tokens:,}",
        f"{speed:.1f}" if speed else "unknown",
        f"{usage.requests:,}",
        f"{usage.tool_calls:,}",
        f"{usage.seconds:.1f}",
    )


def _filled(tokens: int, window: int | None) -> str:
    if window is None:
        return f"{tokens:,} tokens, of an unknown size"
    return f"{tokens:,} of {window:,} tokens, {tokens / window:.0%}"


def _save(conversation: Conversation, argument: str) -> None:
    name, overwrite = argument.removesuffix("!").strip(), argument.endswith("!")
    trajectory = conversation.trajectory()
    if trajectory is None:
        raise ConfigurationError("there is nothing to save yet")
    file = save(trajectory, name, overwrite=overwrite)
    print(f"saved to {one_line(str(file))}")


def _new(conversation: Conversation, argument: str) -> None:
    conversation.begin(to_text(argument) or None)
    print(f"a new conversation: {one_line(conversation.session)}")


def _session(conversation: Conversation, argument: str) -> None:
    trajectory = conversation.trajectory()
    messages = len(trajectory.messages()) if trajectory is not None else 0
    where = "kept" if conversation.kept else "ends with this program, unless its agent keeps it"
    print(f"{one_line(conversation.session)}: {messages} messages; {where}")
    if conversation.kept:
        name = shlex.quote(one_line(conversation.session))
        print(f"to go on later: ling-agent chat with the same options and --session {name}")


COMMANDS = {
    "/help": Command("", "this list", _help),
    "/tools": Command("", "what the agent can call", _tools),
    "/plan": Command("", "the newest plan", _plan),
    "/usage": Command("", "tokens, speed, and how full the context window is", _usage),
    "/save": Command("FILE", "the conversation as .md or .jsonl; /save! overwrites", _save),
    "/new": Command("[NAME]", "begin another conversation", _new),
    "/session": Command("", "the name of this conversation", _session),
}
NAMES = (*COMMANDS, "/exit")
"""What can be completed."""
