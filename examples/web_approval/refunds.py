"""The agent: it refunds orders, and needs a person's approval for large amounts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ling_agent import Agent, Memory, ToolError, tool
from ling_agent.backends import Backend
from ling_agent.memory import SQLiteStore

ORDERS = {"A17": 120.0, "A18": 15.0}
"""What was paid, in euros."""
FREE = 20.0
"""Refunds up to this many euros need nobody."""


def is_large(arguments: dict[str, Any]) -> bool:
    """Whether a refund needs a person's approval."""
    return arguments["euros"] > FREE


@tool(requires_approval=is_large)
def refund(order: str, euros: float) -> str:
    """Refund an order.

    Args:
        order: Its number, for example "A18".
        euros: How much.
    """
    if not 0 < euros <= ORDERS.get(order, 0):
        raise ToolError(f"order {order} was paid with {ORDERS.get(order, 0):g} euros")
    return f"refunded {euros:g} euros of order {order}"


@tool
def find_order(order: str) -> str:
    """What was paid for an order.

    Args:
        order: Its number, for example "A18".
    """
    return f"{ORDERS[order]:g} euros" if order in ORDERS else "there is no such order"


def build_agent(backend: Backend | str | None, file: str | Path) -> Agent:
    """The agent; its runs are kept in a file, and with them the calls that wait."""
    return Agent(
        backend,
        tools=[refund, find_order],
        instructions="You refund orders for the support team.",
        planning="off",
        memory=Memory(SQLiteStore(file)),
    )
