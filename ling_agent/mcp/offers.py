"""`MCPTool`: a tool as its server describes it; which are taken, and which need approval."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import ConfigurationError

if TYPE_CHECKING:
    import mcp_types


@dataclass(frozen=True, slots=True)
class MCPTool:
    """What a server says about one of its tools. It is the server's word, and may be wrong.

    Attributes:
        name: The server's own name, without prefix.
        description: For the model; may be empty.
        read_only: Whether it changes nothing; None when the server does not say.
        destructive: Whether it may change or delete what is there already; None as above.
        idempotent: Whether calling it twice is the same as once; None as above.
        open_world: Whether it deals with things outside, such as the web; None as above.
    """

    name: str
    description: str = ""
    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None
    open_world: bool | None = None

    @property
    def repeatable(self) -> bool:
        """Whether an interrupted call may be made again, by the server's word."""
        return self.read_only is True or self.idempotent is True


Choice: TypeAlias = Collection[str] | Callable[[MCPTool], bool]
"""Names, or a function that says yes or no to each tool."""
ApprovalRule: TypeAlias = bool | Collection[str] | Callable[[MCPTool, dict[str, Any]], bool]
"""For all or none, for these names, or as a function of the tool and its arguments says."""


def may_destroy(tool: MCPTool, arguments: dict[str, Any]) -> bool:
    """An approval rule: every call but those of tools that the server calls harmless.

    Harmless is what is read-only, or not destructive. Both are the server's own word, so use it
    with servers that you trust.
    """
    return not (tool.read_only is True or tool.destructive is False)


def read_offer(tool: mcp_types.Tool) -> MCPTool:
    """The SDK's description as ours."""
    hints = tool.annotations
    title = tool.title or (hints.title if hints else None)
    return MCPTool(
        name=tool.name,
        description=tool.description or title or "",
        read_only=hints.read_only_hint if hints else None,
        destructive=hints.destructive_hint if hints else None,
        idempotent=hints.idempotent_hint if hints else None,
        open_world=hints.open_world_hint if hints else None,
    )


@dataclass(frozen=True)
class Selection:
    """Which tools are taken, and which of them need approval."""

    include: Choice | None
    exclude: Choice | None
    requires_approval: ApprovalRule

    def __post_init__(self) -> None:
        for option in ("include", "exclude", "requires_approval"):
            if isinstance(getattr(self, option), str):
                name = getattr(self, option)
                raise ConfigurationError(f"{option}={name!r}: give a list of names, [{name!r}]")

    def takes(self, tool: MCPTool) -> bool:
        """Whether the agent gets the tool."""
        if self.include is not None and not _chosen(self.include, tool):
            return False
        return self.exclude is None or not _chosen(self.exclude, tool)

    def approval(self, tool: MCPTool) -> bool | Callable[[dict[str, Any]], bool]:
        """The tool's `requires_approval`."""
        rule = self.requires_approval
        if isinstance(rule, bool):
            return rule
        if callable(rule):
            return lambda arguments: bool(rule(tool, arguments))
        return tool.name in rule

    def unknown(self, offered: Iterable[str]) -> list[str]:
        """A note for each name that the server does not offer: perhaps a slip of the pen."""
        known = set(offered)
        notes: list[str] = []
        for option in ("include", "exclude", "requires_approval"):
            given: object = getattr(self, option)
            if given is None or isinstance(given, bool) or callable(given):
                continue
            names: Collection[str] = given  # pyright: ignore[reportAssignmentType]
            notes += [
                f"{option} names '{name}', which the server does not offer"
                for name in sorted(set(names) - known)
            ]
        return notes


def _chosen(choice: Choice, tool: MCPTool) -> bool:
    return bool(choice(tool)) if callable(choice) else tool.name in choice
