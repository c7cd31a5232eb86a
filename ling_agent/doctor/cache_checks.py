"""Checks of the prefix cache: is it used, is that reported, and does it give right answers."""

from __future__ import annotations

from .advice import advise, is_hybrid_ling
from .answers import Answer
from .findings import Verdict, broken, ok, unknown, warning
from .probe import Probe, ServerProbe

_TIMES = 3


async def cached_tokens(probe: Probe) -> Verdict:
    """Whether the second of two equal prompts is reused, and the server says so."""
    first, second = await probe.long_answers(2)
    size = second.usage.prompt_tokens
    cached = second.usage.cached_tokens
    if cached is None:
        fix = advise("cache-report", probe.kind)
        seen = "the server does not report cached tokens, so nothing can be told of its cache"
        return warning(seen, fix) if fix else unknown(seen)
    if cached:
        return ok(
            f"{cached:,} of {size:,} prompt tokens came from the cache the second time "
            f"({first.usage.cached_tokens or 0:,} the first time)",
            prompt_tokens=size,
            cached_tokens=cached,
        )
    if isinstance(probe, ServerProbe) and probe.kind == "vllm" and is_hybrid_ling(probe.facts):
        return warning(
            f"0 of {size:,} prompt tokens came from the cache: older vLLM has no prefix caching "
            "for this architecture, newer (0.32 was read) caches it in long blocks only",
            "try a longer prompt, or SGLang, which has a prefix cache for it",
        )
    return warning(
        f"0 of {size:,} prompt tokens came from the cache the second time: it is off, its blocks "
        "are longer than this prompt, or other requests have pushed it out",
        advise("cache-off", probe.kind),
    )


async def consistency(probe: Probe) -> Verdict:
    """Whether one long greedy prompt gives one answer, computed and from the cache."""
    answers = await probe.long_answers(_TIMES)
    first, *others = answers
    size = first.usage.prompt_tokens
    if not (first.text + first.reasoning).strip():
        return unknown(f"the model answered the prompt of {size:,} tokens with nothing")
    if all(answer.said == first.said for answer in others):
        return ok(
            f"the same answer {_TIMES} times to a prompt of {size:,} tokens{_reused(others)}",
            prompt_tokens=size,
        )
    different = next(answer for answer in others if answer.said != first.said)
    return broken(
        f"the same greedy prompt of {size:,} tokens gave different answers: {first.shown()} and, "
        f"asked again, {different.shown()}; a prefix cache that returns a wrong state does that",
        advise("cache-wrong", probe.kind),
    )


def _reused(answers: list[Answer]) -> str:
    cached = [answer.usage.cached_tokens for answer in answers]
    if not any(cached):
        return "; that it came from the cache is not reported"
    return f", of which up to {max(tokens or 0 for tokens in cached):,} came from the cache"


async def usage(probe: ServerProbe) -> Verdict:
    """Whether the server says what an answer cost, in events and in one piece."""
    silent = [answer for answer in probe.answers if not answer.usage_told]
    if not silent:
        return ok(f"all {len(probe.answers)} answers told their tokens")
    streamed = all(answer.streamed for answer in silent)
    where = "of streamed answers" if streamed else f"of {len(silent)} of {len(probe.answers)}"
    return warning(
        f"the usage {where} is missing: limits and costs are then estimated from the text",
        advise("usage", probe.kind),
    )
