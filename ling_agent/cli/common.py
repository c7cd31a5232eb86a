"""What the subcommands share: the caller's objects, the agent, the result as JSON."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import importlib
import os
import sys
from typing import Any, TypeAlias, cast

from .. import Agent, Tool, catalog, extras
from ..backends import Backend
from ..backends.registry import DEFAULT_BACKEND
from ..errors import ConfigurationError
from ..limits import Limits
from ..memory import Memory
from ..results import RunResult
from ..tools.source import ToolSource

# A text, because the class is generic for type checkers only.
Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # pyright: ignore[reportPrivateUsage]

_AGENTS_OWN = ("backend", "tools", "instructions", "planning", "store")


def add_agent_options(parser: argparse.ArgumentParser) -> None:
    """The options from which `agent_from` makes the agent."""
    parser.add_argument(
        "--agent", metavar="MODULE:ATTR", help="an Agent object of yours, in place of the others"
    )
    parser.add_argument(
        "--backend",
        metavar="SPEC",
        help=f"llamacpp:<alias or path to a .gguf> (default {DEFAULT_BACKEND}), or a server: "
        "vllm:<base url>, sglang:<base url>, openai:<base url>#<model>",
    )
    parser.add_argument(
        "--tools", metavar="MODULE:ATTR,...", help="functions, tools or lists of them"
    )
    parser.add_argument("--instructions", metavar="TEXT", help="system prompt")
    parser.add_argument(
        "--planning",
        choices=("off", "inline", "explicit"),
        help="how to plan (default inline)",
    )
    parser.add_argument("--store", metavar="FILE", help="keep runs in this file, to go on with")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """The options of one run: those that `limits_from` reads, and ``--json``."""
    parser.add_argument("--max-steps", type=int, metavar="N", help="most messages of the model")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="for the whole run")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def limits_from(options: argparse.Namespace, agent: Agent) -> Limits:
    """The agent's limits with those of the options in their place.

    Raises:
        ConfigurationError: A limit that makes no sense.
    """
    given = {"max_steps": options.max_steps, "timeout": options.timeout}
    changes = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(agent.limits, **changes)


def to_text(argument: str) -> str:
    """An argument as text that can be encoded; one that is not UTF-8 has lone surrogates."""
    return argument.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def agent_from(options: argparse.Namespace) -> Agent[Any]:
    """The agent that the options name.

    Raises:
        ConfigurationError: Options that contradict each other, or a name that cannot be loaded.
    """
    if options.agent is not None:
        given = [name for name in _AGENTS_OWN if getattr(options, name) is not None]
        if given:
            raise ConfigurationError(
                f"--agent brings its own {' and '.join(given)}: leave out --{' and --'.join(given)}"
            )
        agent = load_object(options.agent)
        if not isinstance(agent, Agent):
            raise ConfigurationError(
                f"--agent {options.agent} is an object of type {type(agent).__name__}: "
                "name an Agent object, for example my_agents:agent"
            )
        return cast("Agent[Any]", agent)
    return Agent(
        options.backend,
        tools=_tools(options.tools or ""),
        instructions=options.instructions or "",
        planning=options.planning or "inline",
        memory=_memory(options.store),
    )


def _memory(file: str | None) -> Memory | None:
    if file is None:
        return None
    from ..memory import SQLiteStore

    return Memory(SQLiteStore(file))


def _tools(names: str) -> list[Any]:
    tools: list[Any] = []
    for name in filter(None, map(str.strip, names.split(","))):
        found = load_object(name)
        several = cast("list[Any]", found) if isinstance(found, list | tuple) else [found]
        for each in several:
            if not isinstance(each, Tool | ToolSource) and not callable(each):
                raise ConfigurationError(
                    f"--tools {name} is an object of type {type(each).__name__}: "
                    "name a function, a tool or a list of them"
                )
        tools += several
    return tools


def load_object(name: str) -> object:
    """The object that ``module:attr`` names; modules of the working directory are found.

    Raises:
        ConfigurationError: It cannot be imported; the message says why.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise ConfigurationError(
            f"{name!r} is not of the form module:attribute, for example my_tools:search"
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: object = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        # The caller's module may raise anything; one line says what, and how to see the rest.
        raise ConfigurationError(_not_imported(module_name, error)) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, dir(found), n=1)
            hint = f"did you mean {near[0]}?" if near else "check the spelling"
            raise ConfigurationError(f"{module_name} has no attribute {attribute}: {hint}")
        found = getattr(found, part)
    return found


def _not_imported(module: str, error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]:
        return (
            f"cannot import {module}: there is no such module in the working directory "
            "or the Python environment"
        )
    return (
        f"cannot import {module}: {type(error).__name__}: {error}; "
        f"to see where: python -c 'import {module}'"
    )


def fetch_model(agent: Agent) -> None:
    """Get the model file of an embedded agent before its run.

    In the main thread: there Ctrl-C stops a download at once, and its progress is shown.

    Raises:
        ConfigurationError: Neither an alias nor a model file, or the engine is not installed.
        CatalogError: The file cannot be had.
    """
    backend = agent.backend
    name = backend.name if isinstance(backend, Backend) else backend or DEFAULT_BACKEND
    scheme, _, model = name.partition(":")
    if scheme == "llamacpp":
        if model in catalog.CATALOG:
            # First, so that nothing is downloaded that could not be run.
            extras.require("llama_cpp", extra="llamacpp", why="the embedded backend")
        catalog.resolve(model, progress=catalog.terminal_progress())


def result_to_json(result: RunResult[Any]) -> dict[str, Any]:
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
            "constrained_tokens": usage.constrained_tokens,
            "forced_tokens": usage.forced_tokens,
            "requests": usage.requests,
            "tool_calls": usage.tool_calls,
            "seconds": round(usage.seconds, 3),
        },
        "error": str(result.error) if result.error else None,
        "notes": list(result.notes),
    }
