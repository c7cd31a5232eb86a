"""`Completion`: one answer as the JSON of OpenAI's chat API, whole or in chunks.

An event of the run is one chunk. Plain clients read ``choices[0].delta``, which is there in every
chunk but that of the usage; what they do not know is under ``ling_agent``.
"""

from __future__ import annotations

import json
from typing import Any

from ..events import Event, ReasoningDelta, TextDelta
from ..messages import ToolCall
from ..results import RunResult, RunStatus, Usage
from . import wire
from .refusals import RefusedError

DONE = b"data: [DONE]\n\n"
KEEPALIVE = b": keep-alive\n\n"

_FINISH_REASONS = {
    RunStatus.completed: "stop",
    RunStatus.stopped: "stop",
    RunStatus.needs_approval: "tool_calls",
}


def finish_reason(status: RunStatus) -> str:
    """OpenAI's word for how a run ended; every limit is a ``length``, as there is no other."""
    return _FINISH_REASONS.get(status, "length")


class Completion:
    """Writes one answer.

    Args:
        run_id: Of the run; ``chatcmpl-`` and it are the answer's id.
        model: Name of the agent.
        created: Seconds since the epoch.
        events: Whether chunks carry the run's events; the last one does in any case.
        include_usage: Whether a streamed answer ends with its usage.
        resume: Path where decisions about calls that wait are taken.
        typed: Whether the agent has an ``output_type``: its answers are JSON, also a text.
    """

    def __init__(
        self,
        *,
        run_id: str,
        model: str,
        created: int,
        events: bool,
        include_usage: bool,
        resume: str,
        typed: bool,
    ) -> None:
        self.events = events
        self._model = model
        self._include_usage = include_usage
        self._resume = resume
        self._typed = typed
        self._common = {"id": f"chatcmpl-{run_id}", "created": created, "model": model}
        head: dict[str, Any] = {**self._common, "object": "chat.completion.chunk"}
        if include_usage:
            head["usage"] = None
        self._head = f'data: {_dumps(head)[:-1]},"choices":[{{"index":0,"delta":'
        self._sequence = 0

    def content(self, result: RunResult) -> str | None:
        """The answer as the text of a message; None when there is none."""
        if self._typed and result.status is RunStatus.completed:
            return _dumps(wire.any_to_json(result.output))
        return None if result.output is None else wire.output_text(result.output)

    # -- streamed -----------------------------------------------------------------------------

    def begin(self, event: Event) -> bytes:
        """The first chunk, which says whose message it is."""
        return self._chunk('{"role":"assistant","content":""}', self._extension(event))

    def event(self, event: Event, content: str) -> bytes:
        """The chunk of an event; empty when there is nothing to send.

        Args:
            event: Any but the first and the last of the run.
            content: What a plain client is to read of it.
        """
        if not content and not self.events:
            return b""
        if isinstance(event, TextDelta) and self.events:
            return self._text(event, content)
        delta: dict[str, Any] = {"content": content} if content else {}
        if isinstance(event, ReasoningDelta):
            delta["reasoning_content"] = event.text
        return self._chunk(_dumps(delta), self._extension(event))

    def end(self, event: Event, result: RunResult, content: str) -> list[bytes]:
        """What a stream ends with that has an answer, or calls that wait."""
        delta: dict[str, Any] = {"content": content} if content else {}
        calls = _waiting(result.pending_approvals, numbered=True)
        if calls:
            delta["tool_calls"] = calls
        last = self._chunk(
            _dumps(delta),
            self._extension(event, always=True, **self._to_go_on(result)),
            finish_reason(result.status),
        )
        return [last, *self._usage(result.usage), DONE]

    def broken(self, refused: RefusedError, event: Event | None = None) -> list[bytes]:
        """What a stream ends with that has met an error; clients raise it."""
        parts: list[bytes] = []
        if event is not None:
            parts.append(self._chunk("{}", self._extension(event, always=True)))
        return [*parts, f"data: {_dumps(refused.body())}\n\n".encode(), DONE]

    def _text(self, event: TextDelta, content: str) -> bytes:
        """The chunk that there are most of, without a detour."""
        text = _dumps(event.text)
        shown = text if content == event.text else _dumps(content)
        delta = f'{{"content":{shown}}}' if content else "{}"
        sequence, self._sequence = self._sequence, self._sequence + 1
        return (
            f'{self._head}{delta},"finish_reason":null}}],"ling_agent":{{"sequence":{sequence},'
            f'"event":{{"type":"text_delta","text":{text}}}}}}}\n\n'
        ).encode()

    def _chunk(self, delta: str, extension: str, reason: str | None = None) -> bytes:
        return (
            f'{self._head}{delta},"finish_reason":{_dumps(reason)}}}]{extension}}}\n\n'
        ).encode()

    def _extension(self, event: Event, *, always: bool = False, **more: Any) -> str:
        if not (self.events or always):
            return ""
        told = {"sequence": self._sequence, "event": wire.event_to_json(event), **more}
        self._sequence += 1
        return f',"ling_agent":{_dumps(told)}'

    def _usage(self, usage: Usage) -> list[bytes]:
        if not self._include_usage:
            return []
        chunk: dict[str, Any] = {
            **self._common,
            "object": "chat.completion.chunk",
            "choices": [],
            "usage": usage_of(usage),
        }
        return [f"data: {_dumps(chunk)}\n\n".encode()]

    # -- whole --------------------------------------------------------------------------------

    def whole(self, result: RunResult) -> dict[str, Any]:
        """The answer in one piece."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": self.content(result),
            "refusal": None,
        }
        calls = _waiting(result.pending_approvals, numbered=False)
        if calls:
            message["tool_calls"] = calls
        return {
            **self._common,
            "object": "chat.completion",
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "logprobs": None,
                    "finish_reason": finish_reason(result.status),
                }
            ],
            "usage": usage_of(result.usage),
            "ling_agent": {"result": wire.result_to_json(result), **self._to_go_on(result)},
        }

    def _to_go_on(self, result: RunResult) -> dict[str, Any]:
        return {"resume": self._resume} if result.pending_approvals else {}


def usage_of(usage: Usage) -> dict[str, Any]:
    """The whole run's usage in OpenAI's words."""
    told: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.cached_tokens is not None:
        told["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    return told


def _waiting(calls: tuple[ToolCall, ...], *, numbered: bool) -> list[dict[str, Any]]:
    """Calls that wait for approval, in OpenAI's form."""
    return [
        {
            **({"index": number} if numbered else {}),
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": _dumps(wire.any_to_json(call.arguments))},
        }
        for number, call in enumerate(calls)
    ]


def _dumps(value: object) -> str:
    """JSON in ASCII: it can be encoded whatever a model writes."""
    return json.dumps(value, separators=(",", ":"))
