"""From a server's listing to tools: names that a model may use, schemas, and handlers that call."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError, LingAgentError, ToolError
from ..tools import RunContext, Tool
from .hiding import Hider
from .offers import MCPTool, Selection, read_offer
from .results import error_text, result_value

if TYPE_CHECKING:
    import mcp_types

    from .connection import Connection

_LONGEST_NAME = 64
_FOREIGN = re.compile(r"[^a-zA-Z0-9_-]+")


@dataclass(frozen=True, slots=True)
class MCPProgress:
    """Progress that a server reports during a call: the payload of a `ToolProgress` event.

    Attributes:
        progress: How far it is; it never goes back.
        total: What it will be at the end; None when unknown.
        message: In the server's words.
    """

    progress: float
    total: float | None = None
    message: str | None = None


@dataclass(frozen=True)
class Options:
    """What all tools of a server have in common."""

    label: str
    hider: Hider
    prefix: str
    selection: Selection
    timeout: float | None
    max_result_tokens: int | None


def make_tools(
    listing: tuple[mcp_types.Tool, ...], connection: Connection, options: Options
) -> tuple[list[Tool[..., Any]], list[str]]:
    """The tools that are taken, and notes about those that cannot be."""
    taken: list[Tool[..., Any]] = []
    notes = options.selection.unknown(tool.name for tool in listing)
    notes += [f"left out: {note}" for note in connection.left_out]
    used: set[str] = set()
    # Sorted, so that a name that two tools would have goes to the same one each time.
    for tool in sorted(listing, key=lambda tool: tool.name):
        offer = read_offer(tool)
        if not options.selection.takes(offer):
            continue
        name = tool_name(options.prefix, offer.name, used)
        try:
            made = _make(name, offer, tool.input_schema, connection, options)
        except ConfigurationError as error:
            notes.append(f"left out: {error}")
            continue
        used.add(name)
        taken.append(made)
    return taken, notes


def tool_name(prefix: str, name: str, used: set[str]) -> str:
    """A valid name of at most 64 characters that no other tool of the server has."""
    if prefix and not prefix.endswith(("_", "-")):
        prefix += "_"
    full = _FOREIGN.sub("_", prefix + name) or "_"
    if len(full) > _LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        full = f"{full[: _LONGEST_NAME - 9]}_{digest}"
    candidate, number = full, 2
    while candidate in used:
        ending = f"_{number}"
        candidate, number = full[: _LONGEST_NAME - len(ending)] + ending, number + 1
    return candidate


def _make(
    name: str,
    offer: MCPTool,
    schema: dict[str, Any],
    connection: Connection,
    options: Options,
) -> Tool[..., Any]:
    return Tool.from_schema(
        name,
        offer.description,
        schema,
        _handler(offer, connection, options),
        timeout=options.timeout,
        requires_approval=options.selection.approval(offer),
        idempotent=offer.repeatable,
        max_result_tokens=options.max_result_tokens,
    )


def _handler(
    offer: MCPTool, connection: Connection, options: Options
) -> Callable[..., Coroutine[Any, Any, object]]:
    # The parameter's name is one that no argument of a tool is likely to have.
    async def call(__ling_run__: RunContext[Any], **arguments: Any) -> object:
        reporter = _Reporter(__ling_run__, options.hider)
        try:
            result = await _call(offer, connection, options, arguments, reporter)
        finally:
            reporter.done = True
        if result.is_error:
            raise ToolError(options.hider.text(error_text(result)))
        return options.hider.value(result_value(result))

    call.__qualname__ = f"MCP server '{options.label}', {offer.name}"
    call.__doc__ = offer.description
    return call


async def _call(
    offer: MCPTool,
    connection: Connection,
    options: Options,
    arguments: dict[str, Any],
    reporter: _Reporter,
) -> mcp_types.CallToolResult:
    """Make the call; whatever goes wrong is told to the model in one line."""
    from mcp import MCPError

    from .connection import CallLostError

    server = f"the MCP server '{options.label}'"
    try:
        return await connection.call(
            offer.name, arguments, again=offer.repeatable, progress=reporter.report
        )
    except CallLostError:
        raise ToolError(
            f"{server} was lost during the call: nobody knows whether it took effect; "
            "find out before you call again"
        ) from None
    except MCPError as error:
        raise ToolError(f"{server} refused the call: {options.hider.line(str(error))}") from None
    except LingAgentError as error:
        raise ToolError(str(error)) from None
    except (RuntimeError, ValueError) as error:
        # The SDK's: a result that is not what the protocol, or the tool's own schema, says.
        raise ToolError(
            f"{server} gave a result that cannot be used: {options.hider.line(str(error))}"
        ) from None


class _Reporter:
    """Hands a server's progress to whoever streams the run, in order and while the call runs."""

    def __init__(self, ctx: RunContext[Any], hider: Hider) -> None:
        self._ctx = ctx
        self._hider = hider
        self._furthest = float("-inf")
        self.done = False

    async def report(self, progress: float, total: float | None, message: str | None) -> None:
        # The SDK starts a task for each notification; not every event loop keeps their order.
        if self.done or progress < self._furthest:
            return
        self._furthest = progress
        told = None if message is None else self._hider.text(message)
        self._ctx.emit(MCPProgress(progress, total, told))
