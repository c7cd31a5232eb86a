"""An agent as a server of the SDK: its one tool, and a run for each call of it."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import anyio
import mcp_types
from mcp import MCPError
from mcp.server import Server
from mcp.server.context import ServerRequestContext

from ..cancellation import CancelToken
from ..errors import ConfigurationError, LingAgentError
from ..events import Compacted, Event, PlanMade, StepStarted, ToolFinished, ToolStarted
from ..results import RunResult, RunStatus
from ..strangers import told_to_strangers
from ..tools import Tool
from ..tools.failures import failure_text
from ..tools.problems import ArgumentError
from ..tools.rendering import dump, to_json_value
from .toolmaking import tool_name

if TYPE_CHECKING:
    from ..agent import Agent

_log = logging.getLogger("ling_agent.mcp")

_PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "task": {"type": "string", "minLength": 1, "description": "What to do, in words."},
        "session": {
            "type": "string",
            "minLength": 1,
            "description": "Name of a conversation that this task goes on with, or begins.",
        },
    },
    "required": ["task"],
    "additionalProperties": False,
}


class Offer:
    """The agent's tool, and the runs that are under way."""

    def __init__(self, agent: Agent[Any], *, description: str | None, deps: Any) -> None:
        self._agent = agent
        self._deps = deps
        self._tool = Tool.from_schema(
            tool_name("", agent.name, set()),
            description or f"Gives the agent {agent.name} a task, and returns its answer.",
            _PARAMETERS,
            _never,
        )
        self._running: set[CancelToken] = set()
        self._idle = anyio.Event()

    def server(self) -> Server[Any]:
        """A server of the SDK, for any of its transports."""
        from ..version import __version__

        return Server(
            self._agent.name,
            version=__version__,
            on_list_tools=self._list,
            on_call_tool=self._call,
        )

    async def cancel_runs(self, seconds: float) -> None:
        """Cancel what runs, and give it that long to end."""
        for token in tuple(self._running):
            token.cancel()
        with anyio.move_on_after(seconds):
            while self._running:
                self._idle = anyio.Event()
                await self._idle.wait()

    async def _list(
        self,
        ctx: ServerRequestContext[Any],
        params: mcp_types.PaginatedRequestParams | None,
    ) -> mcp_types.ListToolsResult:
        tool = self._tool
        listed = mcp_types.Tool(
            name=tool.name, description=tool.description, input_schema=tool.parameters
        )
        return mcp_types.ListToolsResult(tools=[listed])

    async def _call(
        self, ctx: ServerRequestContext[Any], params: mcp_types.CallToolRequestParams
    ) -> mcp_types.CallToolResult:
        if params.name != self._tool.name:
            raise MCPError(
                mcp_types.INVALID_PARAMS,
                f"there is no tool {params.name!r}; there is {self._tool.name!r}",
            )
        try:
            arguments = self._tool.validate(params.arguments or {}).arguments
            return _answer(await self._run(ctx, arguments["task"], arguments.get("session")))
        except ArgumentError as error:
            return _failure(f"the arguments do not fit: {error.message}")
        except LingAgentError as error:
            _log.error("a run of %s failed: %s", self._agent.name, " ".join(str(error).split()))
            return _failure(_refusal(error))
        except Exception:
            _log.exception("a run of %s failed", self._agent.name)
            return _failure(f"{self._agent.name} failed; the log of its server says why")

    async def _run(
        self, ctx: ServerRequestContext[Any], task: str, session: str | None
    ) -> RunResult[Any]:
        """One run; it is cancelled with the request, and tells the client how it gets on."""
        told = 0
        with self._counted() as token:
            async with self._agent.stream(
                task, session=session, deps=self._deps, cancel=token
            ) as run:
                async for event in run:
                    line = _told(event)
                    if line:
                        told += 1
                        await ctx.session.report_progress(told, message=line)
            return run.result

    @contextmanager
    def _counted(self) -> Generator[CancelToken, None, None]:
        token = CancelToken()
        self._running.add(token)
        try:
            yield token
        finally:
            self._running.discard(token)
            self._idle.set()


def _never(**arguments: Any) -> None:
    """The tool's own handler: it is only described and checked, and its calls become runs."""
    raise AssertionError("its calls become runs")


def _told(event: Event) -> str:
    """A line for a progress bar; names only, since arguments and results may be private."""
    match event:
        case StepStarted(step=step):
            return f"step {step}"
        case PlanMade(plan=plan):
            return f"plan with {len(plan.steps)} steps" if plan.steps else "plan"
        case ToolStarted(call=call):
            return f"{call.name} runs"
        case ToolFinished(observation=observation, seconds=seconds):
            how = "failed" if observation.is_error else "finished"
            return f"{observation.name} {how} after {seconds:.1f} s"
        case Compacted():
            return "the conversation was shortened"
        case _:
            return ""


def _answer(result: RunResult[Any]) -> mcp_types.CallToolResult:
    output: object = result.output
    nothing = output is None and result.status is not RunStatus.completed  # None may be an answer
    if nothing or result.status not in _ANSWERED:
        return _failure(_why(result))
    value = to_json_value(output)
    # A value that is no object is text alone: older protocols allow objects only.
    data = cast("dict[str, Any]", value) if isinstance(value, dict) else None
    text = mcp_types.TextContent(text="null" if value is None else dump(value))
    return mcp_types.CallToolResult(content=[text], structured_content=data)


_ANSWERED = (RunStatus.completed, RunStatus.stopped)


def _why(result: RunResult[Any]) -> str:
    """What a client is told about a run without an answer."""
    text = f"the run ended as {result.status} (run {result.run_id})"
    if result.pending_approvals:
        names = ", ".join(call.name for call in result.pending_approvals)
        return f"{text}: a person has to approve the call of {names} first"
    if result.error is not None:
        _log.error("%s: %s", text, " ".join(str(result.error).split()))
        return f"{text}: {told_to_strangers(result.error)}"
    said = result.output
    return f"{text}. So far it has said:\n{said}" if said else text


def _refusal(error: LingAgentError) -> str:
    """What a client is told of a run that could not begin; what it did wrong itself in full."""
    if isinstance(error, ConfigurationError):
        return failure_text(error).removeprefix("Error: ")
    return told_to_strangers(error)


def _failure(text: str) -> mcp_types.CallToolResult:
    return mcp_types.CallToolResult(content=[mcp_types.TextContent(text=text)], is_error=True)
