"""A server that is a child process and talks on its stdin and stdout."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BackendUnavailable, ConfigurationError, LingAgentError
from .hiding import Given, Hider, reveal
from .stderr import StderrLog

if TYPE_CHECKING:
    from mcp import MCPError

    from .endpoint import Fate, Streams


@dataclass(frozen=True)
class StdioEndpoint:
    """A command; `env` is added to the few variables that the SDK lets a server inherit."""

    label: str
    hider: Hider
    command: str
    args: tuple[str, ...]
    env: Mapping[str, Given]
    cwd: str | Path | None

    def link(self, lost: Callable[[], None], timeout: float) -> StdioLink:
        """One run of the command; that it has ended shows in its streams."""
        return StdioLink(self, timeout)


def command_label(command: str, args: tuple[str, ...]) -> str:
    """Names of the program and of what it runs; no other argument, which may be a secret."""
    program = Path(command).name
    rest = args[1:] if args and args[0] in ("-m", "-y", "--yes") else args
    if not rest or rest[0].startswith("-"):
        return program
    return f"{program} {Path(rest[0]).name}"


class StdioLink:
    """One child process; it ends with the link: stdin is closed, then SIGTERM, then SIGKILL."""

    def __init__(self, endpoint: StdioEndpoint, timeout: float) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._started = False
        self._junk = ""
        self._said = ""

    @asynccontextmanager
    async def streams(self) -> AsyncGenerator[Streams, None]:
        """Start the process, and end it with everything that it has started."""
        from mcp import StdioServerParameters, stdio_client

        endpoint = self._endpoint
        parameters = StdioServerParameters(
            command=endpoint.command,
            args=list(endpoint.args),
            env={name: reveal(value) for name, value in endpoint.env.items()},
            cwd=endpoint.cwd,
            encoding_error_handler="replace",
        )
        stderr = StderrLog(endpoint.label, endpoint.hider)
        try:
            async with stdio_client(parameters, errlog=stderr.file) as (read, write):
                self._started = True
                yield read, write
        finally:
            stderr.close()
            self._said = stderr.last_line

    def heard(self, error: Exception) -> None:
        """A line on stdout that is not JSON-RPC."""
        if not self._junk:
            self._junk = self._endpoint.hider.line(_input_of(error))

    def fate(self, error: MCPError) -> Fate:
        """The pipe takes a request before anybody reads it: never surely unsent."""
        return "interrupted" if _is_closed(error) else "answered"

    def reason(self, error: BaseException | None) -> LingAgentError:
        """From the error, and from what the process has said."""
        endpoint = self._endpoint
        label = f"MCP server '{endpoint.label}'"
        if not self._started and isinstance(error, OSError | ValueError):
            return self._not_started(label, error)
        if self._junk:
            return ConfigurationError(
                f"{label} is not an MCP server: it wrote {self._junk!r} to its stdout, where only "
                "protocol messages belong"
            )
        said = f"; the last line of its stderr: {self._said}" if self._said else ""
        if error is None:
            return BackendUnavailable(
                f"{label} did not answer within {self._timeout:g} s (connect_timeout){said}",
                retry=True,
            )
        if _is_closed(error):
            hint = said or "; it wrote nothing to stderr: try the command in a terminal"
            return BackendUnavailable(f"{label} exited before it answered{hint}", retry=True)
        return BackendUnavailable(
            f"{label} refused the connection: {endpoint.hider.line(str(error))}{said}"
        )

    def _not_started(self, label: str, error: OSError | ValueError) -> ConfigurationError:
        endpoint = self._endpoint
        if endpoint.cwd is not None and not Path(endpoint.cwd).is_dir():
            return ConfigurationError(f"{label}: cwd is not a folder: {endpoint.cwd}")
        if isinstance(error, FileNotFoundError):
            words = " " in endpoint.command and not endpoint.args
            hint = (
                "give each of its words as an argument" if words else "install it, or give its path"
            )
            return ConfigurationError(f"{label}: there is no command '{endpoint.command}'; {hint}")
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return ConfigurationError(f"{label}: '{endpoint.command}' cannot be started: {why}")


def _is_closed(error: BaseException) -> bool:
    from mcp import MCPError
    from mcp_types import CONNECTION_CLOSED

    return isinstance(error, MCPError) and error.code == CONNECTION_CLOSED


def _input_of(error: Exception) -> str:
    """What the SDK could not read, from pydantic's error about it."""
    details = getattr(error, "errors", None)
    if callable(details):
        items: Any = details(include_url=False)
        if items and isinstance(items[0].get("input"), str):
            return items[0]["input"]
    return str(error)
