"""The example's agent: a model, the marketplace's tools, a sentence of instructions."""

from __future__ import annotations

from ling_agent import Agent, Limits, Sampling
from ling_agent.planning import Planning

from .market import Market
from .tools import make_tools

INSTRUCTIONS = "You find GPU rental offers. Answer from the tool results."


def make_agent(market: Market, backend: str, *, planning: Planning = "inline") -> Agent:
    """An agent that searches the market; greedy, so that a run can be repeated.

    Args:
        market: Where the tools look.
        backend: A backend string, for example ``llamacpp:qwen2.5-coder-0.5b``.
        planning: See `Agent`.
    """
    return Agent(
        backend,
        tools=make_tools(market),
        instructions=INSTRUCTIONS,
        planning=planning,
        limits=Limits(max_steps=8, max_tool_calls=4),
        sampling=Sampling(temperature=0.0, max_tokens=256),
    )
