"""`RunResponse`: a run as an HTTP answer, a JSON object a line, sent while it works."""

from __future__ import annotations

import json
import logging
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ling_agent import BackendError, LingAgentError, RunResult
from ling_agent.events import (
    CallStarted,
    Compacted,
    Correction,
    Event,
    PlanMade,
    PlanUpdated,
    PrefillProgress,
    ReasoningDelta,
    RunFinished,
    RunStarted,
    StepStarted,
    TextDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from ling_agent.stream import RunStream

_log = logging.getLogger("examples")

Json = dict[str, Any]


class RunResponse(StreamingResponse):
    """Sends a run's events; when the client goes away, the run's context is cancelled.

    It opens the run itself, in place of a generator that would: a generator is only told that
    nobody reads any more when it has something to say, and a run may be silent for long.

    Args:
        run: What `Agent.stream` or `Agent.resume_stream` returned.
    """

    def __init__(self, run: AbstractAsyncContextManager[RunStream[Any]]) -> None:
        super().__init__((), media_type="application/x-ndjson")
        self._run = run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def until_gone() -> None:
            await self.listen_for_disconnect(receive)
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(until_gone)
            await self.stream_response(send)
            group.cancel_scope.cancel()

    async def stream_response(self, send: Send) -> None:
        async def line(told: Json) -> None:
            body = json.dumps(told, default=str).encode() + b"\n"
            await send({"type": "http.response.body", "body": body, "more_body": True})

        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        try:
            async with self._run as run:
                async for event in run:
                    if (told := tell(event)) is not None:
                        await line(told)
        except LingAgentError as error:  # the run could not begin, or left no result
            await line({"type": "error", "message": wording(error)})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def tell(event: Event) -> Json | None:
    """What the page is told of an event; None for what it does not show."""
    match event:
        case RunStarted(run_id):
            return {"type": "run", "id": run_id}
        case StepStarted(step):
            return {"type": "step", "step": step}
        case PrefillProgress(tokens, total):
            return {"type": "reading", "done": tokens, "total": total}
        case PlanMade(plan) | PlanUpdated(plan):
            steps = [{"text": step.text, "status": step.status} for step in plan.steps]
            return {"type": "plan", "steps": steps}
        case TextDelta(text):
            return {"type": "text", "text": text}
        case ReasoningDelta(text):
            return {"type": "reasoning", "text": text}
        case Correction(message) | Compacted(reason=message):
            return {"type": "note", "text": message}
        case RunFinished(result):
            return finished(result)
        case _:
            return tell_call(event)


def tell_call(event: Event) -> Json | None:
    """`tell` for the events of calls."""
    match event:
        case CallStarted(_, call_id, name):
            return {"type": "call", "id": call_id, "name": name, "status": "is written"}
        case ToolStarted(call):
            told = {"id": call.id, "name": call.name, "arguments": call.arguments}
            return {"type": "call", **told, "status": "runs"}
        case ToolProgress(call_id, payload):
            return {"type": "progress", "id": call_id, "text": str(payload)}
        case ToolFinished(observation):
            status = "failed" if observation.is_error else "done"
            told = {"id": observation.call_id, "name": observation.name}
            return {"type": "call", **told, "status": status, "result": observation.content}
        case _:
            return None


def finished(result: RunResult[Any]) -> Json:
    """The last line of a run that has a result."""
    return {
        "type": "finished",
        "status": result.status,
        "error": wording(result.error) if result.error else None,
        "tokens": result.usage.total_tokens,
        "seconds": round(result.usage.seconds, 1),
    }


def wording(error: LingAgentError) -> str:
    """What a visitor may know of an error; the log has all of it."""
    _log.warning("%s: %s", type(error).__name__, error)
    return "The model does not answer." if isinstance(error, BackendError) else str(error)
