"""What the subcommands share: the caller's objects, the agent, the result as JSON."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import Any, TypeAlias

from .. import Agent
from ..errors import ConfigurationError
from ..results import RunResult

# A text, because the class is generic for type checkers only.
Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # pyright: ignore[reportPrivateUsage]


def add_agent_options(parser: argparse.ArgumentParser) -> None:
    """The options from which `agent_from` makes the agent."""
    parser.add_argument("--agent", metavar="MODULE:ATTR", help="an Agent object of yours")
    parser.add_argument(
        "--backend",
        metavar="SPEC",
        help="llamacpp:<alias or path to a .gguf> (default llamacpp:qwen2.5-coder-0.5b)",
    )
    parser.add_argument(
        "--tools", metavar="MODULE:ATTR,…", default="", help="functions, tools or lists of them"
    )
    parser.add_argument("--instructions", default="", help="system prompt")
    parser.add_argument(
        "--planning", choices=("off", "inline", "explicit"), default="inline", help="how to plan"
    )


def agent_from(options: argparse.Namespace) -> Agent:
    """The agent that the options name.

    Raises:
        ConfigurationError: Options that contradict each other, or a name that cannot be loaded.
    """
    if options.agent:
        if options.backend or options.tools:
            raise ConfigurationError("--agent brings its own backend and tools: drop the others")
        agent = load_object(options.agent)
        if not isinstance(agent, Agent):
            raise ConfigurationError(
                f"--agent {options.agent} is a {type(agent).__name__}, no Agent"
            )
        return agent
    tools: list[Any] = []
    for name in filter(None, options.tools.split(",")):
        found = load_object(name)
        tools.extend(found if isinstance(found, list | tuple) else [found])  # pyright: ignore[reportUnknownArgumentType]
    return Agent(
        options.backend,
        tools=tools,
        instructions=options.instructions,
        planning=options.planning,
    )


def load_object(name: str) -> object:
    """The object that ``module:attr`` names; modules of the working directory are found.

    Raises:
        ConfigurationError: It cannot be imported; the message says why.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise ConfigurationError(f"{name!r} is not of the form module:attribute")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: object = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigurationError(f"cannot import {module_name}: {error}") from None
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigurationError(f"{module_name} has no attribute {attribute}")
        found = getattr(found, part)
    return found


def result_to_json(result: RunResult) -> dict[str, Any]:
    """The result for programs."""
    usage = result.usage
    return {
        "run_id": result.run_id,
        "status": str(result.status),
        "output": result.output,
        "plan": [{"text": s.text, "status": s.status} for s in result.plan.steps]
        if result.plan
        else None,
        "calls": [
            {"id": c.id, "name": c.name, "arguments": c.arguments, "repairs": list(c.repairs)}
            for step in result.steps
            for c in step.message.calls
        ],
        "observations": [
            {"call_id": o.call_id, "name": o.name, "content": o.content, "is_error": o.is_error}
            for step in result.steps
            for o in step.observations
        ],
        "pending_approvals": [
            {"id": c.id, "name": c.name, "arguments": c.arguments} for c in result.pending_approvals
        ],
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "cached_tokens": usage.cached_tokens,
            "requests": usage.requests,
            "tool_calls": usage.tool_calls,
            "seconds": round(usage.seconds, 3),
        },
        "error": str(result.error) if result.error else None,
        "notes": list(result.notes),
    }
