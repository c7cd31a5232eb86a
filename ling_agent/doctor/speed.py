"""Measures the time to the first token and the speed of generation, of one streamed answer."""

from __future__ import annotations

from .advice import DoctorKind, advise
from .answers import Answer
from .findings import Verdict, ok, unknown, warning
from .known import Bound
from .probe import Probe
from .questions import speed_question

_FEWEST = 8  # tokens of which a speed can be told
_AT_ONCE = 0.001  # seconds from the first piece to the last: nothing generates as fast as that
_SLOW_START = 2.0  # seconds to the first token of some hundred: below, nobody waits


async def speed(probe: Probe) -> Verdict:
    """One prompt that is in no cache, one answer; nothing else asks meanwhile from here."""
    answer = await probe.ask(speed_question(f"speed {probe.nonce}"), stream=True)
    return judge(answer, probe.kind, probe.bound)


def judge(answer: Answer, kind: DoctorKind, bound: Bound | None = None) -> Verdict:
    """What the times of a streamed answer say.

    Args:
        answer: Streamed, of a prompt that was in no cache.
        kind: Of the server.
        bound: How fast the card allows it to be, where that is known; only told, since how near to
            it one answer comes depends on the model.
    """
    prompt, generated = answer.usage.prompt_tokens, answer.usage.completion_tokens
    if not answer.pieces:
        return unknown(f"the model answered the prompt of {prompt:,} tokens with nothing")
    between = answer.last - answer.first
    if generated >= _FEWEST and (answer.pieces == 1 or between < _AT_ONCE):
        return warning(
            f"{generated} tokens came all at once, {answer.first:.2f} s after the question: "
            "something between here and the model holds the stream back",
            advise("buffered", kind),
        )
    head = f"first token after {answer.first:.2f} s for a prompt of {prompt:,} tokens"
    if generated < _FEWEST or not between:
        return unknown(f"{head}; the answer of {generated} tokens is too short for a speed")
    rate = (generated - 1) / between
    reading = prompt / max(answer.first, _AT_ONCE)
    estimated = "" if answer.usage_told else ", tokens estimated"
    seen = f"{head}, then {rate:.1f} tokens/s ({generated} tokens{estimated})"
    seen += bound.told(rate) if bound else ""
    if answer.first >= _SLOW_START and reading < rate:
        return warning(
            f"{seen}: a token of the prompt took longer than one of the answer, which is read one "
            "by one; the request waited for others, or prompts are not read in batches",
            advise("queue", kind),
        )
    return ok(
        seen,
        first_token_seconds=round(answer.first, 3),
        tokens_per_second=round(rate, 2),
        prompt_tokens=prompt,
        completion_tokens=generated,
    )
