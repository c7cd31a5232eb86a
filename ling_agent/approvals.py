"""Decisions about calls that wait for approval: asked for in a run, or given to `Agent.resume`.

They are kept in the trajectory. Once given, a decision holds until its call is answered, in
whatever resumption that is; nobody is asked twice. A later decision about the same call replaces
it. A call of a sub-agent is named behind the call that it works for: ``call_1_0/call_2_0``.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ConfigurationError
from .memory.trajectory import Block, Trajectory, unanswered
from .messages import ToolCall
from .tools import Tool, Toolset
from .tools.problems import ArgumentError


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


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """What an agent's ``approve`` function is asked.

    Attributes:
        call: The call that waits, with the arguments that it would run with.
        tool: Its tool.
        run_id: Name of the run or session.
    """

    call: ToolCall
    tool: Tool[..., Any]
    run_id: str


Approver = Callable[[ApprovalRequest], "Approval | Awaitable[Approval | None] | None"]
"""Decides while the run waits; None leaves the call to `Agent.resume`."""


def ask_for(trajectory: Trajectory, tools: Toolset, calls: Iterable[ToolCall]) -> None:
    """Write down which calls wait for a decision, where their tools do not say so."""
    known = _waiting(trajectory, tools)
    for call in calls:
        if call.id not in known:
            trajectory.append(
                "approval", step=trajectory.last_step, call_id=call.id, decision="asked"
            )


def keep(
    trajectory: Trajectory, call_id: str, decision: Approval, redact: Callable[[Any], Any]
) -> None:
    """Write a decision down, without secrets.

    Arguments that hold one would be others without it: they are not kept, and whoever goes on with
    the run asks again.

    Raises:
        ConfigurationError: It is none.
    """
    data = _to_data(call_id, decision)
    clean = redact(data)
    if clean is data or not isinstance(decision, Edit):
        trajectory.append("approval", step=trajectory.last_step, **clean)


def decide(
    trajectory: Trajectory,
    tools: Toolset,
    given: Mapping[str, Approval],
    redact: Callable[[Any], Any],
    *,
    lenient: bool = False,
) -> dict[str, Approval]:
    """Write decisions into the trajectory; see `keep`.

    Args:
        trajectory: The log.
        tools: The run's.
        given: By call id.
        redact: Takes secrets out of what is kept.
        lenient: Leave out those that are about no call that waits.

    Returns:
        All decisions about calls that are still to be answered, earlier ones too, by call id.

    Raises:
        ConfigurationError: A decision is about no call that waits, or is none. Nothing is written
            then.
    """
    waiting = _waiting(trajectory, tools)
    if lenient:
        given = {call_id: decision for call_id, decision in given.items() if call_id in waiting}
    for call_id in given:
        if call_id not in waiting:
            known = f"waiting: {', '.join(sorted(waiting))}" if waiting else "no call waits"
            raise ConfigurationError(f"approval of {call_id!r}: there is no such call; {known}")
    made = {id_: _from_data(_to_data(id_, decision)) for id_, decision in given.items()}
    for call_id, decision in made.items():
        _check_edit(call_id, decision, unanswered(trajectory).get(call_id), tools)
    for call_id, decision in made.items():
        keep(trajectory, call_id, decision, redact)
    kept = [entry.data for entry in trajectory if entry.kind == "approval"]
    earlier = {
        data["call_id"]: _from_data(data)
        for data in kept
        if data["call_id"] in waiting and not _is_asked(data)
    }
    return earlier | made


def _waiting(trajectory: Trajectory, tools: Toolset) -> set[str]:
    """Ids of the unanswered calls that need a decision, or whose sub-agents' calls do."""
    open_calls = unanswered(trajectory)
    asked = {
        entry.data["call_id"]
        for entry in trajectory.newest_task()
        if entry.kind == "approval" and entry.data["call_id"].partition("/")[0] in open_calls
    }
    needed = {
        id_
        for id_, call in open_calls.items()
        if isinstance(call, ToolCall)
        and call.name in tools
        and tools[call.name].needs_approval(call.arguments)
    }
    return asked | needed


def _check_edit(call_id: str, decision: Approval, call: Block | None, tools: Toolset) -> None:
    """Refuse arguments that do not fit, while they can still be given anew.

    Raises:
        ConfigurationError: They do not.
    """
    if isinstance(decision, Edit) and isinstance(call, ToolCall) and call.name in tools:
        try:
            tools[call.name].validate(dict(decision.arguments))
        except ArgumentError as error:
            lines = "; ".join(error.message.splitlines())
            raise ConfigurationError(
                f"Edit of {call_id}: {call.name} does not take this: {lines}"
            ) from None


def _is_asked(data: Mapping[str, Any]) -> bool:
    return data.get("decision") == "asked"


def _to_data(call_id: str, decision: Approval) -> dict[str, Any]:
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


def _from_data(data: Mapping[str, Any]) -> Approval:
    match data["decision"]:
        case "edited":
            return Edit(data["arguments"])
        case "denied":
            return Deny(data["reason"])
        case _:
            return True
