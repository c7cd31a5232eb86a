"""What the tests of hooks share: an agent with tools that remember, and some hooks."""

from __future__ import annotations

import dataclasses
from typing import Any

from ling_agent import (
    Agent,
    RunContext,
    RunResult,
    tool,
)
from ling_agent.hooks import (
    AfterModel,
    AfterTool,
    BeforeTool,
    Veto,
)
from ling_agent.testing import Reply, ScriptedBackend


class Shelf:
    """A tool that remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

        @tool
        async def look(item: str) -> str:
            """Look for an item."""
            self.asked.append(item)
            return f"{item}: on the shelf"

        @tool(requires_approval=True)
        async def buy(item: str) -> str:
            """Buy an item."""
            self.asked.append(item)
            return f"bought {item}"

        self.tools = [look, buy]

    def agent(self, *script: str | Reply, **options: Any) -> Agent:
        options = {"planning": "off", "tools": self.tools, **options}
        return Agent(ScriptedBackend(script), **options)


def requests(agent: Agent) -> list[Any]:
    assert isinstance(agent.backend, ScriptedBackend)
    return agent.backend.requests


def notes(result: RunResult) -> list[str]:
    return [e.message.content for e in result.trajectory if e.kind == "note" and e.message]


def no_tea(moment: AfterModel) -> Veto | None:
    named = [c.arguments.get("item") for c in moment.message.calls]
    return Veto("no tea") if "tea" in named or "tea" in moment.message.content else None


def upper(moment: BeforeTool) -> BeforeTool:
    """Not one that can be applied twice without notice."""
    item = moment.arguments["item"] + "!"
    return dataclasses.replace(moment, arguments={**moment.arguments, "item": item})


def hide(moment: AfterTool) -> AfterTool:
    return dataclasses.replace(moment, text=moment.text.replace("4711", "****"))


@tool
async def card(ctx: RunContext[Any]) -> str:
    """Look up the card."""
    return "card number 4711"
