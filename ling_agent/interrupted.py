"""What an ended run has left half done: calls that began before their message, or have no answer.

Calls begin while the model still writes. Each is written down before it runs, with its name and
arguments, so that a process that dies in between leaves a log which knows what was done; the
message that the model did not finish is then made of these calls.
"""

from __future__ import annotations

from .memory.trajectory import Trajectory, in_conversation, started, unanswered
from .messages import AssistantMessage, ToolCall, ToolMessage
from .tools.cutting import estimate_tokens

INTERRUPTED = "Error: the call was interrupted; whether it took effect is not known."
_NOT_RUN = "Error: the call was not run. Make it again if it is still needed."


def adopt_early_calls(trajectory: Trajectory) -> None:
    """Write the message of calls that began before it was written and that nobody finished."""
    calls: list[ToolCall] = []
    for entry in in_conversation(trajectory):
        if entry.message is not None:
            break
        data = entry.data
        if entry.kind == "call" and "name" in data:
            calls.append(ToolCall(data["call_id"], data["name"], dict(data["arguments"])))
            step = entry.step
    if calls:
        message = AssistantMessage("", calls=tuple(reversed(calls)))
        trajectory.append("assistant", message, step=step, tokens=None, broken_off=True)  # pyright: ignore[reportPossiblyUnboundVariable]


def leave_calls(trajectory: Trajectory) -> None:
    """Answer what an ended run left unanswered, before the conversation goes on without it."""
    begun = started(trajectory)
    for id_, block in unanswered(trajectory).items():
        text = INTERRUPTED if id_ in begun else _NOT_RUN
        answer = ToolMessage(id_, block.name or "", text, True)
        tokens = estimate_tokens(text)
        trajectory.append("observation", answer, step=trajectory.last_step, tokens=tokens)
