"""Checks how a server draws where a request does not say it: many clients send no temperature."""

from __future__ import annotations

from .advice import advise, is_ling
from .findings import Verdict, ok, unknown, warning
from .probe import ServerProbe
from .questions import OPEN, SAMPLING_FIELDS


async def default_sampling(probe: ServerProbe) -> Verdict:
    """Whether one question, asked twice without a temperature, brings one answer.

    ling_agent always sends its temperature, so this concerns other clients of the server; of Ling
    it is a warning, since its calls suffer at the 1.0 that servers then take.
    """
    first, second = [await probe.ask(OPEN, without=SAMPLING_FIELDS) for _ in range(2)]
    if not (first.text + first.reasoning).strip():
        return unknown("the model answered a question without a temperature with nothing")
    if first.said == second.said:
        return ok("the same answer twice without a temperature")
    seen = (
        f"without a temperature the server draws: {first.shown()} and, asked again, "
        f"{second.shown()}"
    )
    if not is_ling(probe.facts):
        return ok(f"{seen}; ling_agent sends its own with each request")
    return warning(
        f"{seen}; Ling's generation_config names no temperature, so that servers take 1.0",
        advise("sampling", probe.kind),
    )
