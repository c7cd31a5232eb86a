"""What came out of a simulation, as an `Outcome`, with the reason in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...results import RunStatus, Usage
from ..benchmark import Case, Outcome
from ..recording import RecordingBackend

if TYPE_CHECKING:
    from .simulation import Score, Simulated

_ENDED = {
    "max_steps": "it did not end within the steps that a simulation has",
    "too_many_errors": "too many calls failed in the environment",
    "agent_error": "the agent broke the protocol",
    "user_error": "the simulated user broke the protocol",
}


def outcome_of(
    case: Case,
    simulated: Simulated,
    score: Score | None,
    *,
    recording: RecordingBackend,
    user: Usage,
    seconds: float,
) -> Outcome:
    """The outcome of a case.

    Args:
        case: Of the benchmark.
        simulated: What happened.
        score: What the evaluator says; None when the simulation broke off.
        recording: What the agent's model was asked.
        user: What the simulated user has cost.
        seconds: How long it all took.
    """
    verdict, error = verdict_of(simulated, score)
    stands = score is not None and not score.undecided
    calls = [
        call for result in simulated.results for step in result.steps for call in step.message.calls
    ]
    last = recording.exchanges[-1] if recording.exchanges else None
    return Outcome(
        case=case.id,
        category=case.category,
        passed=verdict == "ok",
        score=score.reward if score is not None and stands else 0.0,
        verdict=verdict,
        prompt=last.prompt if last else "",
        text=last.text if last else "",
        calls=tuple({"name": call.name, "arguments": call.arguments} for call in calls),
        repairs=tuple(repair for call in calls for repair in call.repairs),
        usage=sum((result.usage for result in simulated.results), Usage()),
        seconds=seconds,
        status=_status(simulated),
        error=error,
        details=_details(simulated, score, user),
    )


def _details(simulated: Simulated, score: Score | None, user: Usage) -> dict[str, Any]:
    return {
        "reward": score.info if score is not None else None,
        "assertions_in_words": score.in_words if score is not None else "not judged",
        "runs": [str(result.status) for result in simulated.results],
        "user_usage": {
            "requests": user.requests,
            "prompt_tokens": user.prompt_tokens,
            "completion_tokens": user.completion_tokens,
        },
        "messages": [
            {key: value for key, value in message.items() if value is not None}
            for message in simulated.messages
        ],
    }


def _status(simulated: Simulated) -> str:
    """How the simulation ended, in the package's words; or, broken off, how the agent's run did."""
    if simulated.run is not None:
        return str(simulated.run.termination_reason.value)
    return str(simulated.ended or RunStatus.failed)


def verdict_of(simulated: Simulated, score: Score | None) -> tuple[str, str]:
    """The verdict, and why it could not be judged; that is empty when it was.

    An agent that has nothing to say has failed. A simulated user that has, or anything else that
    breaks, is not the agent's doing: such a case could not be judged.
    """
    if score is None:
        return simulated.failure, "" if simulated.ended is not None else simulated.failure
    if score.undecided:
        return score.undecided, score.undecided
    if score.reward >= 1.0:
        return "ok", ""
    ended = str(simulated.run.termination_reason.value)
    if ended in _ENDED:
        return _ENDED[ended], ""
    return "; ".join(_missing(score.info)) or f"reward {score.reward:g}", ""


def _missing(info: Mapping[str, Any]) -> list[str]:
    """What of the reward's parts is not there."""
    rewards: Mapping[str, float] = info.get("reward_breakdown") or {}
    return [tell(info) for part, tell in _WORDS.items() if rewards.get(part, 1.0) < 1.0]


def _database(info: Mapping[str, Any]) -> str:
    return "the database is not as the gold actions leave it"


def _state(info: Mapping[str, Any]) -> str:
    failed = [_unmet(check["env_assertion"]) for check in _lost(info, "env_assertions", "met")]
    return f"the environment is not as asserted: {', '.join(failed)}"


def _unmet(assertion: Mapping[str, Any]) -> str:
    return str(assertion["func_name"])


def _actions(info: Mapping[str, Any]) -> str:
    failed = [check["action"]["name"] for check in _lost(info, "action_checks", "action_match")]
    return f"gold actions were not taken: {', '.join(failed)}"


def _said(info: Mapping[str, Any]) -> str:
    failed = [repr(check["info"]) for check in _lost(info, "communicate_checks", "met")]
    return f"the user was not told: {', '.join(failed)}"


def _in_words(info: Mapping[str, Any]) -> str:
    failed = [repr(check["nl_assertion"]) for check in _lost(info, "nl_assertions", "met")]
    return f"assertions in words are not met: {', '.join(failed)}"


def _lost(info: Mapping[str, Any], checks: str, key: str) -> Sequence[Mapping[str, Any]]:
    return [check for check in info.get(checks) or () if not check[key]]


_WORDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "DB": _database,
    "ENV_ASSERTION": _state,
    "ACTION": _actions,
    "COMMUNICATE": _said,
    "NL_ASSERTION": _in_words,
}
