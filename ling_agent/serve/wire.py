"""Events and results as JSON: what stands under the key ``ling_agent`` of a chunk.

Each event is an object with its name under ``type`` and its fields under their own names. Values of
tools are made JSON the way pydantic does it; a ``SecretStr`` stays hidden, and what cannot be JSON
is named by its type only.
"""

from __future__ import annotations

from typing import Any, assert_never

from pydantic_core import PydanticSerializationError, from_json, to_json

from ..events import (
    ApprovalRequested,
    Compacted,
    Correction,
    Event,
    ModelEvent,
    PlanMade,
    PlanUpdated,
    PrefillProgress,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    SubagentEvent,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from ..hermes import ArgumentsDelta, CallFailed, CallParsed, CallStarted, ReasoningDelta, TextDelta
from ..messages import ToolCall, ToolMessage
from ..results import Plan, RunResult, Usage
from .refusals import refusal_of

Json = dict[str, Any]


def event_to_json(event: Event) -> Json:
    """An event of a run; every one of the union has its own ``type``."""
    match event:
        case RunStarted(run_id, task):
            return {"type": "run_started", "run_id": run_id, "task": task}
        case StepStarted(step):
            return {"type": "step_started", "step": step}
        case PlanMade(plan):
            return {"type": "plan_made", "plan": plan_to_json(plan)}
        case PlanUpdated(plan):
            return {"type": "plan_updated", "plan": plan_to_json(plan)}
        case ToolStarted(call):
            return {"type": "tool_started", "call": call_to_json(call)}
        case ToolProgress(call_id, payload):
            return {"type": "tool_progress", "call_id": call_id, "payload": any_to_json(payload)}
        case ToolFinished(observation, seconds):
            told = _observation_to_json(observation)
            return {"type": "tool_finished", "observation": told, "seconds": round(seconds, 6)}
        case ApprovalRequested(call):
            return {"type": "approval_requested", "call": call_to_json(call)}
        case SubagentEvent(call_id, agent, run_id, inner):
            return {
                "type": "subagent_event",
                "call_id": call_id,
                "agent": agent,
                "run_id": run_id,
                "event": event_to_json(inner),
            }
        case _:
            return _further_to_json(event)


def _further_to_json(
    event: ModelEvent | Correction | Compacted | StepFinished | RunFinished,
) -> Json:
    match event:
        case Correction(message):
            return {"type": "correction", "message": message}
        case Compacted(reason, before, after):
            # What a server said about a prompt that it refused may name the server.
            told = "the prompt was refused as too long" if reason.startswith("refused") else reason
            return {"type": "compacted", "reason": told, "before": before, "after": after}
        case StepFinished(step, usage):
            return {"type": "step_finished", "step": step, "usage": usage_to_json(usage)}
        case RunFinished(result):
            return {"type": "run_finished", "result": result_to_json(result)}
        case _:
            return _model_event_to_json(event)


def _model_event_to_json(event: ModelEvent) -> Json:
    match event:
        case PrefillProgress(tokens, total):
            return {"type": "prefill_progress", "tokens": tokens, "total": total}
        case TextDelta(text):
            return {"type": "text_delta", "text": text}
        case ReasoningDelta(text):
            return {"type": "reasoning_delta", "text": text}
        case CallStarted(index, id_, name):
            return {"type": "call_started", "index": index, "id": id_, "name": name}
        case ArgumentsDelta(index, text):
            return {"type": "arguments_delta", "index": index, "text": text}
        case CallParsed(index, id_, name, arguments, repairs):
            return {
                "type": "call_parsed",
                "index": index,
                "id": id_,
                "name": name,
                "arguments": any_to_json(arguments),
                "repairs": list(repairs),
            }
        case CallFailed(index, kind, raw, message, name):
            return {
                "type": "call_failed",
                "index": index,
                "kind": kind,
                "raw": raw,
                "message": message,
                "name": name,
            }
        case _:
            assert_never(event)


def result_to_json(result: RunResult) -> Json:
    """How a run ended, without its trajectory; of an error only what a client may know."""
    refused = refusal_of(result.error) if result.error is not None else None
    return {
        "run_id": result.run_id,
        "status": str(result.status),
        "output": any_to_json(result.output),
        "plan": plan_to_json(result.plan) if result.plan is not None else None,
        "usage": usage_to_json(result.usage),
        "pending_approvals": [call_to_json(call) for call in result.pending_approvals],
        "error": refused.body()["error"] if refused is not None else None,
    }


def call_to_json(call: ToolCall) -> Json:
    """A call with its arguments."""
    arguments = any_to_json(call.arguments)
    return {"id": call.id, "name": call.name, "arguments": arguments, "repairs": list(call.repairs)}


def plan_to_json(plan: Plan) -> Json:
    """A plan with its steps."""
    steps = [{"text": step.text, "status": step.status} for step in plan.steps]
    return {"text": plan.text, "steps": steps, "revision": plan.revision}


def usage_to_json(usage: Usage) -> Json:
    """What a step or a run has cost; ``cached_tokens`` is null when the server does not say."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cached_tokens": usage.cached_tokens,
        "requests": usage.requests,
        "tool_calls": usage.tool_calls,
        "seconds": round(usage.seconds, 6),
    }


def _observation_to_json(observation: ToolMessage) -> Json:
    return {
        "call_id": observation.call_id,
        "name": observation.name,
        "content": observation.content,
        "is_error": observation.is_error,
    }


def any_to_json(value: object) -> Any:
    """Any value as JSON types; nothing raises."""
    if value is None or isinstance(value, str):
        return value
    try:
        # By way of text: only there every number that JSON does not have is replaced.
        return from_json(_to_json(value))
    except (PydanticSerializationError, ValueError, RecursionError, TypeError):
        return _name_of(value)


def output_text(output: object) -> str:
    """An answer as the text of a message: as it is, or as JSON where it is no text."""
    if isinstance(output, str):
        return output
    return _to_json(output).decode()


def _to_json(value: object) -> bytes:
    return to_json(value, bytes_mode="base64", inf_nan_mode="strings", fallback=_name_of)


def _name_of(value: object) -> str:
    return f"<{type(value).__name__}>"
