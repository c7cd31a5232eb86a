"""A run's tools: each name once, in an order that keeps prompts byte-stable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from ..errors import ConfigurationError
from .decorator import Tool
from .signature import describe


class Toolset:
    """Tools by name, sorted by name. Plain functions are made tools.

    Raises:
        ConfigurationError: Two tools have one name, or a function cannot be a tool.
    """

    def __init__(self, tools: Iterable[Tool[..., Any] | Callable[..., Any]] = ()) -> None:
        found: dict[str, Tool[..., Any]] = {}
        for item in tools:
            made = _as_tool(item)
            other = found.get(made.name)
            if other is not None:
                raise ConfigurationError(_duplicate(other, made))
            found[made.name] = made
        self._tools = {name: found[name] for name in sorted(found)}
        self._schemas = [_for_prompt(made.openai_schema()) for made in self._tools.values()]

    @property
    def schemas(self) -> list[dict[str, Any]]:
        """OpenAI tool objects, sorted by name: the same objects each time; read-only.

        They are what a model reads: ``"additionalProperties": false`` is left out, because small
        models copy it into their arguments. `Tool.openai_schema` has it.
        """
        return self._schemas

    @property
    def names(self) -> tuple[str, ...]:
        """The names, sorted."""
        return tuple(self._tools)

    def unknown_message(self, name: str) -> str:
        """What to tell a model that called a tool that does not exist."""
        shown = name if len(name) <= 64 else name[:63] + "…"
        if not self._tools:
            return f"There is no tool '{shown}': no tools are available."
        import difflib

        folded: dict[str, str] = {}
        for known in self._tools:
            folded.setdefault(known.lower(), known)
        near = [folded[item] for item in difflib.get_close_matches(shown.lower(), folded, 3, 0.65)]
        nearest = f" Nearest: {', '.join(near)}." if near else ""
        return f"There is no tool '{shown}'.{nearest} Tools: {', '.join(self._tools)}."

    def find(self, name: str) -> Tool[..., Any] | None:
        """The tool of that name, if there is one."""
        return self._tools.get(name)

    def __getitem__(self, name: str) -> Tool[..., Any]:
        return self._tools[name]

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def __iter__(self) -> Iterator[Tool[..., Any]]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def __repr__(self) -> str:
        return f"Toolset({', '.join(self._tools)})"


def _as_tool(item: Any) -> Tool[..., Any]:
    if isinstance(item, Tool):
        return cast("Tool[..., Any]", item)
    return Tool.from_function(item)


def _for_prompt(value: Any) -> Any:
    if isinstance(value, dict):
        items: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType]
        return {
            key: _for_prompt(item)
            for key, item in items.items()
            if not (key == "additionalProperties" and item is False)
        }
    if isinstance(value, list):
        return [_for_prompt(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def _duplicate(first: Tool[..., Any], second: Tool[..., Any]) -> str:
    if first is second:
        return f"the tool '{first.name}' is given twice; give it once"
    return (
        f"two tools are named '{first.name}': {describe(first.handler)} and "
        f"{describe(second.handler)}; rename one with @tool(name=…), or give an MCP server a prefix"
    )
