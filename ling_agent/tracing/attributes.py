"""Attributes of spans and metrics, by the names of OpenTelemetry's conventions for generative AI.

The conventions are in development: the names are those of release 1.41, which the newer ones of
the conventions' own repository share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from ..backends.base import ModelInfo, ModelRequest
    from ..messages import ToolCall
    from ..results import RunResult, Usage
    from ..tools import Tool, ToolOutcome
    from .seam import Answer, RunStart

Attributes = dict[str, Any]

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
CONVERSATION = "gen_ai.conversation.id"
AGENT = "gen_ai.agent.name"
OUTPUT_TYPE = "gen_ai.output.type"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
TOKEN_TYPE = "gen_ai.token.type"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
ERROR_TYPE = "error.type"
STATUS = "ling_agent.run.status"
STEP = "ling_agent.step"

_EMBEDDED = "llamacpp"
_PORTS = {"http": 80, "https": 443}


def is_embedded(backend: str) -> bool:
    """Whether the model runs in this process."""
    return backend.partition(":")[0] == _EMBEDDED


def of_server(backend: str) -> Attributes:
    """Who serves the model and where, from a backend string.

    The address is left out where several servers share the requests.
    """
    provider, _, rest = backend.partition(":")
    found: Attributes = {PROVIDER: provider or "unknown"}
    url = rest.partition("#")[0]
    if "," in url or "://" not in url:
        return found
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return found
    if host:
        found["server.address"] = host
        if port:
            found["server.port"] = port
    return found


def of_run(start: RunStart) -> Attributes:
    """Of a run that begins."""
    found = {
        OPERATION: "invoke_agent",
        AGENT: start.agent,
        CONVERSATION: start.run_id,
    }
    if start.json_answer:
        found[OUTPUT_TYPE] = "json"
    return found | of_server(start.backend)


def of_result(result: RunResult) -> Attributes:
    """Of a run that ended."""
    counts = {
        STATUS: str(result.status),
        "ling_agent.usage.requests": result.usage.requests,
        "ling_agent.usage.tool_calls": result.usage.tool_calls,
    }
    return counts | of_usage(result.usage)


def of_usage(usage: Usage) -> Attributes:
    """What was used; cached tokens only where the server says."""
    found: Attributes = {
        INPUT_TOKENS: usage.prompt_tokens,
        OUTPUT_TOKENS: usage.completion_tokens,
    }
    if usage.cached_tokens is not None:
        found["gen_ai.usage.cache_read.input_tokens"] = usage.cached_tokens
    return found


def of_request(start: RunStart, request: ModelRequest, info: ModelInfo | None) -> Attributes:
    """Of a model request that is sent."""
    sampling = request.sampling
    found: Attributes = {
        OPERATION: "chat",
        AGENT: start.agent,
        CONVERSATION: start.run_id,
        "gen_ai.request.max_tokens": sampling.max_tokens,
        "gen_ai.request.temperature": float(sampling.temperature),
        "gen_ai.request.top_p": float(sampling.top_p),
        "gen_ai.request.seed": sampling.seed,
    }
    if request.answer_schema is not None:
        found[OUTPUT_TYPE] = "json"
    if sampling.top_k:
        found["gen_ai.request.top_k"] = sampling.top_k
    if not request.whole:
        found["gen_ai.request.stream"] = True
    if info is not None:
        found[REQUEST_MODEL] = info.model
    return found | of_server(start.backend)


def finish_reason(answer: Answer) -> str:
    """In the conventions' words; a call that only we have read from the text counts as one."""
    if answer.finish_reason == "length":
        return "length"
    return "tool_call" if answer.message.calls else "stop"


def of_answer(answer: Answer, info: ModelInfo | None, *, streamed: bool) -> Attributes:
    """Of what a model request brought."""
    found: Attributes = {FINISH_REASONS: [finish_reason(answer)]}
    if info is not None:
        found[RESPONSE_MODEL] = info.model
    if streamed and answer.usage.prefill_seconds:
        found["gen_ai.response.time_to_first_chunk"] = answer.usage.prefill_seconds
    return found | of_usage(answer.usage)


def of_call(start: RunStart, call: ToolCall, tool: Tool[..., Any] | None) -> Attributes:
    """Of a call that runs."""
    found: Attributes = {
        OPERATION: "execute_tool",
        AGENT: start.agent,
        CONVERSATION: start.run_id,
        "gen_ai.tool.name": call.name,
        "gen_ai.tool.call.id": call.id,
        "gen_ai.tool.type": "function",
    }
    if tool is not None and tool.description:
        found["gen_ai.tool.description"] = tool.description
    return found


def of_outcome(outcome: ToolOutcome) -> Attributes:
    """Of a call that ended; ``error.type`` where the tool did not deliver."""
    found: Attributes = {}
    if outcome.attempts > 1:
        found["ling_agent.tool.attempts"] = outcome.attempts
    if outcome.waiting:
        found["ling_agent.tool.waiting"] = True
    if outcome.is_error:
        found[ERROR_TYPE] = "tool_error" if outcome.attempts else "invalid_arguments"
    return found


def of_error(error: BaseException) -> str:
    """``error.type``: ``cancelled``, the HTTP status of a refusal, or the class of the error.

    What is no `Exception` comes from outside: a cancellation, or the end of the program.
    """
    if not isinstance(error, Exception):
        return "cancelled"
    status = getattr(error, "status", 0)
    return str(status) if isinstance(status, int) and status else type(error).__name__


def for_metrics(attributes: Mapping[str, Any]) -> Attributes:
    """Those of a model request's attributes that its metrics carry: few values each."""
    names = (OPERATION, PROVIDER, REQUEST_MODEL, RESPONSE_MODEL, "server.address", "server.port")
    return {name: attributes[name] for name in names if name in attributes}
