"""Decisions about calls that wait for approval: given to `Agent.resume`, kept in the trajectory.

Once given, a decision holds until its call is answered, in whatever resumption that is; nobody is
asked twice. A later decision about the same call replaces it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ConfigurationError
from .memory.trajectory import Trajectory, unanswered
from .messages import ToolCall
from .tools import Toolset


@dataclass(frozen=True, slots=True)
class Deny:
    """Do not run the call; the model is told the reason."""

    reason: str = "the user declined"


@dataclass(frozen=True, slots=True)
class Edit:
    """Run the call with these arguments instead; they are JSON."""

    arguments: Mapping[str, Any]


Approval = bool | Deny | Edit
"""True runs the call, False is ``Deny()``."""


def decide(
    trajectory: Trajectory, tools: Toolset, given: Mapping[str, Approval]
) -> dict[str, Approval]:
    """Write decisions into the trajectory.

    Returns:
        All decisions about calls that are still to be answered, earlier ones too, by call id.

    Raises:
        ConfigurationError: A decision is about no call that waits, or is none. Nothing is written
            then.
    """
    waiting = {
        id_
        for id_, call in unanswered(trajectory).items()
        if isinstance(call, ToolCall)
        and call.name in tools
        and tools[call.name].needs_approval(call.arguments)
    }
    entries = [_to_entry(call_id, decision, waiting) for call_id, decision in given.items()]
    for data in entries:
        trajectory.append("approval", step=trajectory.last_step, **data)
    kept = [entry.data for entry in trajectory if entry.kind == "approval"]
    return {data["call_id"]: _from_entry(data) for data in kept if data["call_id"] in waiting}


def _to_entry(call_id: str, decision: Approval, waiting: set[str]) -> dict[str, Any]:
    if call_id not in waiting:
        known = f"waiting: {', '.join(sorted(waiting))}" if waiting else "no call waits"
        raise ConfigurationError(f"approval of {call_id!r}: there is no such call; {known}")
    match decision:
        case True:
            return {"call_id": call_id, "decision": "approved"}
        case False:
            return {"call_id": call_id, "decision": "denied", "reason": Deny().reason}
        case Deny(reason):
            return {"call_id": call_id, "decision": "denied", "reason": reason}
        case Edit(arguments):
            return {"call_id": call_id, "decision": "edited", "arguments": _json(arguments)}
        case _:  # pyright: ignore[reportUnnecessaryComparison]
            raise ConfigurationError(
                f"approval of {call_id!r}: give True, False, Deny(reason) or Edit(arguments), "
                f"not {decision!r}"
            )


def _json(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A copy, so that the log stays as it is when the caller changes theirs."""
    try:
        copy: dict[str, Any] = json.loads(json.dumps(dict(arguments), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"Edit: the arguments must be a JSON object: {error}") from None
    return copy


def _from_entry(data: Mapping[str, Any]) -> Approval:
    match data["decision"]:
        case "edited":
            return Edit(data["arguments"])
        case "denied":
            return Deny(data["reason"])
        case _:
            return True
