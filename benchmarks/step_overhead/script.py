"""What the scripted model says: ten tool calls, then an answer; each in 24 chunks.

Which answer comes is told by the request alone, the number of tool messages in it: any number of
runs can go on at the same time. The arguments differ from step to step, so that no library takes
them for a loop. The objects have the shape of vLLM's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

MODEL = "scripted"
VERSION = "0.32.0"
CONTEXT_WINDOW = 32_768
TOOL = "search_marketplace"
TASK = "Find the cheapest RTX 4090 on ten pages of the marketplace."
TOOL_STEPS = 10
STEPS = TOOL_STEPS + 1
CHUNKS = 24
"""Chunks of an answer from the role to the finish reason; usage and ``[DONE]`` come on top."""

_CREATED = 1_764_000_000  # a constant: answers are rendered once
_WORDS = ("The", "next", "page", "may", "hold", "a", "cheaper", "offer")
_FRAGMENTS = CHUNKS - len(_WORDS) - 3  # less role, the call's head and the finish reason
FINAL_ANSWER = "Of all the offers on 10 pages, the cheapest RTX 4090 is 1042: 0.35 USD per hour."


def arguments(step: int) -> str:
    """The arguments of the step's call as the JSON text that the model writes."""
    price = round(0.5 - step / 100, 2)
    return json.dumps({"gpu": "RTX 4090", "max_price_per_hour": price, "page": step + 1})


def step_of(request: Mapping[str, Any]) -> int:
    """How many of the run's calls have been answered."""
    return sum(message.get("role") == "tool" for message in request["messages"])


def answer(step: int) -> dict[str, Any]:
    """The answer of a step as one ``chat.completion`` object."""
    message: dict[str, Any] = {"role": "assistant", "content": FINAL_ANSWER, "refusal": None}
    message |= {"annotations": None, "audio": None, "function_call": None}
    message |= {"tool_calls": [], "reasoning": None}
    if step < TOOL_STEPS:
        function = {"name": TOOL, "arguments": arguments(step)}
        message["content"] = " ".join(_WORDS)
        message["tool_calls"] = [{"id": _call_id(step), "type": "function", "function": function}]
    choice = {"index": 0, "message": message, "logprobs": None}
    choice |= {"finish_reason": _finish_reason(step), "stop_reason": None, "token_ids": None}
    return {
        **_head(step, "chat.completion"),
        "choices": [choice],
        "service_tier": None,
        "system_fingerprint": None,
        "usage": _usage(step),
        "prompt_logprobs": None,
        "prompt_token_ids": None,
        "kv_transfer_params": None,
    }


def chunks(step: int, *, usage: bool) -> list[dict[str, Any]]:
    """The answer of a step as ``chat.completion.chunk`` objects, `CHUNKS` of them.

    Args:
        step: From 0; `TOOL_STEPS` is the answer to the task.
        usage: Whether the request asked for one more chunk, with the usage.
    """
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    if step < TOOL_STEPS:
        head = {"id": _call_id(step), "type": "function", "index": 0}
        deltas += [{"content": _WORDS[0]}, *({"content": f" {word}"} for word in _WORDS[1:])]
        deltas.append({"tool_calls": [{**head, "function": {"name": TOOL, "arguments": ""}}]})
        deltas += [
            {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}
            for text in _cut(arguments(step), _FRAGMENTS)
        ]
    else:
        deltas += [{"content": text} for text in _cut(FINAL_ANSWER, CHUNKS - 2)]
    head = _head(step, "chat.completion.chunk")
    said = [
        {**head, "choices": [{"index": 0, "delta": d, "logprobs": None, "finish_reason": None}]}
        for d in deltas
    ]
    last = {"index": 0, "delta": {"content": ""}, "logprobs": None}
    last |= {"finish_reason": _finish_reason(step), "stop_reason": None, "token_ids": None}
    said.append({**head, "choices": [last]})
    if usage:
        said.append({**head, "choices": [], "usage": _usage(step)})
    return said


def models() -> dict[str, Any]:
    """The answer to ``/v1/models``."""
    entry = {"id": MODEL, "object": "model", "created": _CREATED, "owned_by": "vllm"}
    entry |= {"root": MODEL, "parent": None, "max_model_len": CONTEXT_WINDOW, "permission": []}
    return {"object": "list", "data": [entry]}


def _head(step: int, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{step:032x}", "object": kind, "created": _CREATED, "model": MODEL}


def _call_id(step: int) -> str:
    return f"chatcmpl-tool-{step:032x}"


def _finish_reason(step: int) -> str:
    return "tool_calls" if step < TOOL_STEPS else "stop"


def _usage(step: int) -> dict[str, Any]:
    """As vLLM tells it with ``--enable-prompt-tokens-details``; the last answer is cached."""
    prompt, cached = 180 + 90 * step, (90 + 90 * step if step else 0) // 16 * 16
    return {
        "prompt_tokens": prompt,
        "total_tokens": prompt + CHUNKS,
        "completion_tokens": CHUNKS,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def _cut(text: str, count: int) -> list[str]:
    """The text in so many pieces of about the same length."""
    ends = [len(text) * number // count for number in range(count + 1)]
    return [text[start:end] for start, end in pairwise(ends)]
