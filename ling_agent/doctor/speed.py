"""Measures the time to the first token and the speed of generation, of one streamed answer."""

from __future__ import annotations

from .advice import advise
from .findings import Verdict, ok, unknown, warning
from .probe import Probe
from .questions import speed_question

_FEWEST = 8  # tokens of which a speed can be told
_AT_ONCE = 0.001  # seconds from the first piece to the last: nothing generates as fast as that


async def speed(probe: Probe) -> Verdict:
    """One prompt that is in no cache, one answer; nothing else asks meanwhile from here."""
    answer = await probe.ask(speed_question(f"speed {probe.nonce}"), stream=True)
    prompt, generated = answer.usage.prompt_tokens, answer.usage.completion_tokens
    if not answer.pieces:
        return unknown(f"the model answered the prompt of {prompt:,} tokens with nothing")
    between = answer.last - answer.first
    if generated >= _FEWEST and (answer.pieces == 1 or between < _AT_ONCE):
        return warning(
            f"{generated} tokens came all at once, {answer.first:.2f} s after the question: "
            "something between here and the model holds the stream back",
            advise("buffered", probe.kind),
        )
    head = f"first token after {answer.first:.2f} s for a prompt of {prompt:,} tokens"
    if generated < _FEWEST or not between:
        return unknown(f"{head}; the answer of {generated} tokens is too short for a speed")
    rate = (generated - 1) / between
    estimated = "" if answer.usage_told else ", tokens estimated"
    return ok(
        f"{head}, then {rate:.1f} tokens/s ({generated} tokens{estimated})",
        first_token_seconds=round(answer.first, 3),
        tokens_per_second=round(rate, 2),
        prompt_tokens=prompt,
        completion_tokens=generated,
    )
