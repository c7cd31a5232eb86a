"""Questions about calls that need approval, for ``run``, ``chat`` and ``resume``.

They are asked when the run has ended as ``needs_approval``, and not while it works: the terminal is
read outside of any event loop, and a program that ends at the question leaves a run that can be
resumed. Only what needs no question any more is decided inside the run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from ..agent import Agent
from ..approvals import Approval, ApprovalRequest, Deny, Edit
from ..errors import ConfigurationError
from ..memory import Trajectory
from ..memory.trajectory import unanswered
from ..messages import ToolCall
from ..tools import Tool, Toolset
from ..tools.problems import ArgumentError
from ..tools.source import ToolSource
from ..view.block import LABEL, Block, write
from . import editing
from .escapes import escaped, json_text
from .lines import forget_typed, interactive, read_line

if TYPE_CHECKING:
    from rich.console import Console

_LONGEST = 4_000
"""Characters of the arguments that are shown without being asked for."""

_QUESTION = f"{'':{LABEL}}[y/n/e/a/?] "
_HELP = """\
y         run the call
n         do not run it; n and a REASON tell the model why
e         edit its arguments, and run it with those
a         run it, and all further calls of this tool in this session
v         view all of its arguments
Ctrl-C    leave it open: the run ends, and can be resumed"""

Tools = Mapping[str, Tool[..., Any]]


class ApprovalPrompt:
    """Asks about calls, and remembers for which tools it need not ask.

    Args:
        console: Where to print; standard output by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        if console is None:
            from rich.console import Console

            console = Console(highlight=False)
        self._console = console
        self._always: set[tuple[int, str]] = set()
        self._functions: list[object] = []  # of the tools that always may, where they are known

    def forget(self) -> None:
        """Ask about every tool again."""
        self._always.clear()
        self._functions.clear()

    def inside(self, request: ApprovalRequest) -> bool | None:
        """What is decided while the run works: True for a tool that always may, else None."""
        return True if any(f is request.tool.handler for f in self._functions) else None

    def ask(self, calls: Sequence[ToolCall], tools: Tools) -> dict[str, Approval] | None:
        """Decisions about all of these calls; None when they are left open.

        Args:
            calls: Those that wait.
            tools: The agent's, by name, which check edited arguments.
        """
        decisions: dict[str, Approval] = {}
        try:
            for number, call in enumerate(calls, start=1):
                if _key(call) not in self._always:
                    place = "  of a sub-agent" if "/" in call.id else ""
                    place += f"  ({number} of {len(calls)})" if len(calls) > 1 else ""
                    forget_typed()
                    self._show(call, place)
                    # A call of a sub-agent has that one's tool.
                    tool = tools.get(call.name) if "/" not in call.id else None
                    decisions[call.id] = self._decision(call, tool)
                else:
                    decisions[call.id] = True
        except (EOFError, KeyboardInterrupt):
            self._console.print()
            return None
        return decisions

    def _decision(self, call: ToolCall, tool: Tool[..., Any] | None) -> Approval:
        while True:
            word, _, rest = read_line(_QUESTION).strip().partition(" ")
            match word.lower():
                case "y" | "yes":
                    return True
                case "a" | "always":
                    self._always.add(_key(call))
                    if tool is not None:
                        self._functions.append(tool.handler)
                    return True
                case "n" | "no":
                    reason = rest.strip() or read_line(f"{'':{LABEL}}reason, or Enter: ").strip()
                    return Deny(reason) if reason else False
                case "e" | "edit":
                    edited = self._edited(call, tool)
                    if edited is not None:
                        return edited
                case "v" | "view":
                    self._show(call, "", whole=True)
                case _:
                    self._say(_HELP, "dim")

    def _edited(self, call: ToolCall, tool: Tool[..., Any] | None) -> Edit | None:
        text = json_text(call.arguments)
        while True:
            try:
                text = editing.edit(text)
                return Edit(to_arguments(text, tool))
            except ConfigurationError as error:
                self._say(str(error), "red")
            except (EOFError, KeyboardInterrupt):
                self._console.print()
                return None  # back to the question

    def _show(self, call: ToolCall, place: str, *, whole: bool = False) -> None:
        write(self._console, f"{'? asks':<{LABEL}}", "bold yellow")
        self._say(escaped(call.name) + place, "bold", indented=False)
        room = _LONGEST
        for name, value in call.arguments.items():
            shown = _argument(name, value)
            if whole or len(shown) <= room:
                self._say(shown, "")
            else:
                more = f"{len(shown) - room:,} more characters: v shows them"
                self._say(f"{shown[:room]}\n… {more}", "")
            room = max(room - len(shown), 0)

    def _say(self, text: str, style: str, *, indented: bool = True) -> None:
        if indented:
            write(self._console, " " * LABEL, "")
        block = Block(self._console, style)
        block.add(text, show=True)
        block.finish()
        self._console.print()


def _key(call: ToolCall) -> tuple[int, str]:
    """What "this tool" is: one of a sub-agent is another one than the agent's of that name."""
    return call.id.count("/"), call.name


def _argument(name: str, value: object) -> str:
    """An argument as people can read and cannot misread it."""
    if isinstance(value, str) and "\n" in value:
        lines = "\n".join(f"│ {escaped(line)}" for line in value.split("\n"))
        return f"{escaped(name)}:\n{lines}"
    return f"{escaped(name)}: {json_text(value)}"


def to_arguments(text: str, tool: Tool[..., Any] | None) -> dict[str, Any]:
    """Arguments that somebody wrote.

    Raises:
        ConfigurationError: They are no JSON object, or do not fit the tool.
    """
    try:
        read: object = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"this is not JSON: {error}") from None
    if not isinstance(read, dict):
        raise ConfigurationError('the arguments must be a JSON object: {"name": value, …}')
    arguments = cast("dict[str, Any]", read)
    if tool is not None:
        try:
            tool.validate(arguments)
        except ArgumentError as error:
            raise ConfigurationError(f"{tool.name} does not take this: {error.message}") from None
    return arguments


def asking(agent: Agent[Any], prompt: ApprovalPrompt | None) -> Agent[Any]:
    """The agent with what a prompt decides inside of runs, unless it has a function of its own."""
    if prompt is None or agent.approve is not None:
        return agent
    return agent.with_options(approve=prompt.inside)


def approval_prompt() -> ApprovalPrompt | None:
    """Who is asked; None without a terminal, where nobody is."""
    return ApprovalPrompt() if interactive() else None


def waiting_calls(trajectory: Trajectory, tools: Tools) -> list[str]:
    """Ids of the calls that wait for a decision, those of sub-agents too, in order."""
    calls = unanswered(trajectory)
    wait = {
        id_: True
        for id_, call in calls.items()
        if isinstance(call, ToolCall)
        and call.name in tools
        and tools[call.name].needs_approval(call.arguments)
    }
    for entry in trajectory.newest_task():
        if entry.kind == "approval" and entry.data["call_id"].partition("/")[0] in calls:
            wait[entry.data["call_id"]] = entry.data["decision"] == "asked"
    return [id_ for id_, waits in wait.items() if waits]


def by_name(tools: Iterable[object]) -> dict[str, Tool[..., Any]]:
    """Tools that an agent was given, by name; those that come from elsewhere are not known here."""
    given = (tool for tool in tools if not isinstance(tool, ToolSource))
    return {tool.name: tool for tool in Toolset(cast("Iterable[Tool[..., Any]]", given))}


def decisions_from(
    approve: Sequence[str], deny: Sequence[str], edit: Sequence[str]
) -> dict[str, Approval]:
    """The decisions of ``--approve``, ``--deny`` and ``--edit``; ``--approve all`` is none.

    Raises:
        ConfigurationError: One that cannot be read, or two about one call.
    """
    given: list[tuple[str, Approval]] = [(call_id, True) for call_id in approve if call_id != "all"]
    for text in deny:
        call_id, _, reason = text.partition("=")
        given.append((call_id, Deny(reason) if reason.strip() else False))
    for text in edit:
        call_id, equals, arguments = text.partition("=")
        if not equals:
            raise ConfigurationError(f"--edit {text}: write CALL_ID=JSON")
        try:
            given.append((call_id, Edit(to_arguments(arguments, None))))
        except ConfigurationError as error:
            raise ConfigurationError(f"--edit {call_id}: {error}") from None
    decisions = dict(given)
    if len(decisions) < len(given):
        raise ConfigurationError("give one decision about each call")
    return decisions
