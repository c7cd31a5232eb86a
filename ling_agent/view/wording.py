"""What is said about calls, plans, costs and ends."""

from __future__ import annotations

import json
from typing import Any

from ..events import Compacted, Correction
from ..messages import ToolCall
from ..results import Plan, RunResult, Usage


def signature(call: ToolCall) -> str:
    """A call as it would be written in Python, about."""
    shown = ", ".join(
        f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in call.arguments.items()
    )
    return f"{call.name}({shown})"


def count(number: int, what: str) -> str:
    """A number with its noun."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def speed(usage: Usage) -> str:
    """How fast it was generated; empty when that is not known."""
    rate = usage.decode_tokens_per_second
    return f", {rate:.1f} tokens/s" if rate else ""


def note(event: Correction | Compacted) -> str:
    """What was told to the model, or done to its prompt."""
    if isinstance(event, Correction):
        return event.message
    return f"the prompt was shortened from {event.before:,} to about {event.after:,} tokens"


def cost(step: int, usage: Usage) -> str:
    """What a step cost."""
    reused = f", {usage.cached_tokens:,} reused" if usage.cached_tokens else ""
    return (
        f"step {step}: {usage.prompt_tokens:,} prompt tokens{reused}, "
        f"{usage.completion_tokens} generated in {usage.seconds:.1f} s{speed(usage)}"
    )


def total(usage: Usage) -> str:
    """What a run cost."""
    return (
        f"{count(usage.requests, 'model request')}, {count(usage.tool_calls, 'tool call')}, "
        f"{usage.prompt_tokens:,} prompt tokens ({usage.cached_tokens or 0:,} reused), "
        f"{usage.completion_tokens:,} generated, {usage.seconds:.1f} s{speed(usage)}"
    )


def progress(plan: Plan) -> str:
    """How far a plan is, and what comes next."""
    done = sum(step.status == "done" for step in plan.steps)
    following = next((step.text for step in plan.steps if step.status == "pending"), None)
    return f"{done} of {len(plan.steps)} done" + (f"; next: {following}" if following else "")


def end(result: RunResult[Any]) -> str:
    """How a run ended that did not complete."""
    return f"{result.status}: {result.error}" if result.error else str(result.status)


def answer(output: object) -> str:
    """An answer as a text: those that have another type as JSON."""
    if isinstance(output, str):
        return output
    from pydantic_core import to_json

    return to_json(output, indent=2, fallback=str).decode()


def says(text: str, output: object) -> bool:
    """Whether a text of the model is this answer, apart from its layout."""
    if isinstance(output, str):
        return text.strip() == output.strip()
    try:
        read, given = json.loads(text), json.loads(answer(output))
    except ValueError:
        return False
    return read in (given, {"answer": given})
