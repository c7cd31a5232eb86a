"""``ling-agent serve``: agents behind OpenAI's chat API."""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import anyio

from .. import extras
from ..agent import Agent
from ..errors import ConfigurationError
from .common import Subparsers, add_agent_options, agent_from, fetch_model, load_object

if TYPE_CHECKING:
    from ..serve.app import Service

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
_OF_AGENT = ("agent", "backend", "tools", "instructions", "planning", "store")
_NOT_OF_MCP = (
    "cors",
    "max_runs",
    "max_body",
    "grace",
    "keepalive",
    "no_events",
    "answer_only",
)
_OF_HTTP = ("host", "api_key", "api_key_file", "json", "log_level", "log_json")
_PORT = 8000
_LEVELS = ("debug", "info", "warning", "error")


def add_parser(subparsers: Subparsers) -> None:
    """Add ``serve`` to the command line."""
    parser = subparsers.add_parser(
        "serve",
        help="offer agents by OpenAI's chat API",
        description="Offer agents by OpenAI's chat API: /v1/chat/completions (streamed or not), "
        "/v1/models and /health. The model of a request is an agent's name. The first Ctrl-C or "
        "SIGTERM lets running answers end, the second ends at once.",
        epilog="Exit code: 0 ended by a signal (with --mcp also by the signal itself), 2 bad "
        "usage. API keys are also taken from LING_AGENT_SERVE_KEY.",
    )
    parser.add_argument(
        "agents",
        nargs="*",
        metavar="[NAME=]MODULE:ATTR",
        help="Agent objects of yours, in place of the agent's options",
    )
    add_agent_options(parser)
    parser.add_argument(
        "--mcp",
        action="store_true",
        help="offer one agent as an MCP tool instead, on standard input and output, or with --port "
        "over streamable HTTP",
    )
    _add_network_options(parser)
    _add_serving_options(parser)
    parser.set_defaults(handler=serve, default_of=parser.get_default)


def _add_network_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default %(default)s)"
    )
    parser.add_argument(
        "--port",
        type=int,
        metavar="N",
        help=f"0 takes a free one (default {_PORT}); with --mcp: speak HTTP there",
    )
    parser.add_argument(
        "--api-key",
        action="append",
        default=[],
        metavar="KEY",
        help="key that requests need; may be given several times. Others see it in the list of "
        "processes: the environment and --api-key-file are safer",
    )
    parser.add_argument("--api-key-file", metavar="FILE", help="keys, one a line")
    parser.add_argument(
        "--cors",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="web pages that may use the server, such as https://chat.example; off by default",
    )


def _add_serving_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-runs", type=int, default=64, metavar="N", help="runs at once (default %(default)s)"
    )
    parser.add_argument(
        "--max-body",
        type=int,
        default=4 * 1024 * 1024,
        metavar="BYTES",
        help="largest request (default %(default)s)",
    )
    parser.add_argument(
        "--grace",
        type=float,
        default=20.0,
        metavar="SECONDS",
        help="for running answers at the end (default %(default)g)",
    )
    parser.add_argument(
        "--keepalive",
        type=float,
        default=15.0,
        metavar="SECONDS",
        help="of silence after which a comment is sent (default %(default)g)",
    )
    parser.add_argument(
        "--no-events", action="store_true", help="send answers only, no steps of the agent"
    )
    parser.add_argument(
        "--answer-only",
        action="store_true",
        help="hold back what the model says before it calls tools",
    )
    parser.add_argument(
        "--log-level", choices=_LEVELS, default="info", help="(default %(default)s)"
    )
    parser.add_argument("--log-json", action="store_true", help="log lines as JSON")
    parser.add_argument(
        "--json", action="store_true", help="print the line that tells the address as JSON"
    )


def serve(options: argparse.Namespace) -> int:
    """Serve until a signal comes; returns 0.

    Raises:
        ConfigurationError: Agents that cannot be served, or an address that cannot be listened on.
    """
    if options.mcp:
        return _serve_mcp(options)
    extras.require("starlette", extra="serve", why="serving an agent")
    extras.require("uvicorn", extra="serve", why="serving an agent")
    from ..serve.hosting import Address, bind, host, url_of

    agents = _agents(options)
    service = _service(options, agents)
    if not (options.grace >= 0 and math.isfinite(options.grace)):
        raise ConfigurationError(f"--grace {options.grace:g}: give seconds, from 0 on")
    with ExitStack() as stack:
        listening = stack.enter_context(closing(bind(Address(options.host, _port(options)))))
        for agent in agents.values():
            stack.enter_context(closing(agent.memory.store))
            fetch_model(agent)
        _log_to_stderr(options)
        url = f"{url_of(listening)}/v1"

        def ready() -> None:
            names = ", ".join(agents)
            line = json.dumps({"url": url, "models": list(agents)})
            print(line if options.json else f"serving {names} at {url}", flush=True)

        host(service, listening, grace=options.grace, ready=ready)
    return 0


def _port(options: argparse.Namespace) -> int:
    return _PORT if options.port is None else options.port


def _serve_mcp(options: argparse.Namespace) -> int:
    """Serve one agent as an MCP tool; returns 0.

    Raises:
        ConfigurationError: Several agents, or an address that cannot be listened on.
    """
    _refuse(options, _NOT_OF_MCP, "without effect with --mcp: leave out {}")
    if options.port is None:
        _refuse(options, _OF_HTTP, "{}: only with --port, since stdio is not the network")
    extras.require("mcp", extra="mcp", why="offering an agent over MCP")
    from ..mcp import offering

    agents = _agents(options)
    if len(agents) > 1:
        raise ConfigurationError("--mcp offers one agent: name one, or start one server for each")
    (agent,) = agents.values()
    with closing(agent.memory.store):
        fetch_model(agent)
        if options.port is None:
            if sys.stdin is not None and sys.stdin.isatty():
                print(
                    "speaking MCP on standard input and output: start this from an MCP client",
                    file=sys.stderr,
                )
            return offering.run_stdio(agent)
        keys = _keys(options)
        _log_to_stderr(options)

        def ready(url: str) -> None:
            line = json.dumps({"url": url, "tool": agent.name})
            print(line if options.json else f"serving {agent.name} at {url}", flush=True)

        serve = partial(
            offering.serve_http, agent, options.host, options.port, api_keys=keys, ready=ready
        )
        anyio.run(serve)
    return 0


def _refuse(options: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
    """Refuse options that nobody would look at: a bound or a key that is not there is missed.

    Raises:
        ConfigurationError: One of them was given.
    """
    given = [name for name in names if getattr(options, name) != options.default_of(name)]
    if given:
        raise ConfigurationError(
            why.format(" and ".join(f"--{name.replace('_', '-')}" for name in given))
        )


def _keys(options: argparse.Namespace) -> list[str]:
    """The keys that requests need.

    Raises:
        ConfigurationError: They cannot be read, or there are none where other machines come in.
    """
    from ..api_keys import VARIABLE, read_keys
    from ..serve.hosting import is_loopback

    keys = read_keys(options.api_key, options.api_key_file)
    if not keys and not is_loopback(options.host):
        raise ConfigurationError(
            f"--host {options.host} is reached from other machines, and no request would need a "
            f"key: give one with --api-key-file FILE or {VARIABLE}, or leave --host out"
        )
    return keys


def _service(options: argparse.Namespace, agents: dict[str, Agent[Any]]) -> Service:
    from ..serve import asgi

    keys = _keys(options)
    return asgi(
        agents,
        api_keys=keys,
        events=not options.no_events,
        answer_only=options.answer_only,
        max_runs=options.max_runs,
        max_body=options.max_body,
        keepalive=options.keepalive,
        cors=options.cors,
        # Without a key a web page could have its own host name lead here.
        allowed_hosts=() if keys else {*_LOCAL_HOSTS, options.host},
    )


def _agents(options: argparse.Namespace) -> dict[str, Agent[Any]]:
    """The agents by the names that they are served under."""
    if not options.agents:
        agent = agent_from(options)
        return {agent.name: agent}
    given = [name for name in _OF_AGENT if getattr(options, name) is not None]
    if given:
        raise ConfigurationError(
            f"the agents bring their own {' and '.join(given)}: leave out --{' and --'.join(given)}"
        )
    agents: dict[str, Agent[Any]] = {}
    for word in options.agents:
        name, equals, place = word.rpartition("=")
        found = load_object(place)
        if not isinstance(found, Agent):
            raise ConfigurationError(
                f"{place} is an object of type {type(found).__name__}: "
                "name an Agent object, for example my_agents:agent"
            )
        agent = cast("Agent[Any]", found)
        name = name if equals else agent.name
        if name in agents:
            raise ConfigurationError(
                f"two agents are called {name!r}: write NAME={place}, or give them names, as in "
                "Agent(name=…)"
            )
        agents[name] = agent
    return agents


def _log_to_stderr(options: argparse.Namespace) -> None:
    from ..serve.logs import JsonLines

    handler = logging.StreamHandler()
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    handler.setFormatter(JsonLines() if options.log_json else logging.Formatter(form))
    logging.basicConfig(level=options.log_level.upper(), handlers=[handler])
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # its news are told here
