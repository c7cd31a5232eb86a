"""Checks that only look: is it there, what does it serve, how new is it, how long is its window."""

from __future__ import annotations

import re
import time

from ..backends.remote.facts import ServerFacts
from ..errors import (
    BackendError,
    BackendRefused,
    BackendUnavailable,
    ConfigurationError,
    ServerMisconfigured,
)
from ..facts import ModelFacts
from .advice import (
    DoctorKind,
    advise,
    is_hybrid_ling,
    is_linear_ling,
    is_ling,
)
from .findings import Verdict, broken, ok, unknown, warning
from .known import known_model, usual_ling, yarn_advice
from .probe import ServerProbe

_SMALL = 8192
_NAMES = 8
_NO_API = ("JSON", "UTF-8", "base URL", "OpenAI-compatible")

_TITLES: dict[str, str] = {
    "vllm": "vLLM",
    "sglang": "SGLang",
    "llama-server": "llama-server",
    "ollama": "Ollama",
    "openai": "an OpenAI-compatible server",
}
# The oldest that is good enough, by kind: for Ling 2.5 and 2.6 (docs/ling.md), and at all, for
# what this package needs of it (docs/servers.md).
_FOR_LING: dict[str, tuple[str, str]] = {
    "vllm": ("0.20.2", "older ones compute Ling's attention wrongly (#41185)"),
    "sglang": ("0.5.10.post1", "older ones do not serve Ling 2.6 as they should"),
}
_AT_ALL: dict[str, tuple[str, str]] = {
    "vllm": ("0.11", "older ones cannot hold calls to their schema"),
    "sglang": ("0.5.10", "older ones lack what is used here"),
}


async def reachable(probe: ServerProbe) -> Verdict:
    """Whether it answers at all, as an API."""
    started = time.perf_counter()
    try:
        await probe.transport.get("/v1/models")
    except BackendError as error:
        return broken(str(error), _unreachable(error, probe.declared))
    milliseconds = (time.perf_counter() - started) * 1000
    return ok(f"answers in {milliseconds:.0f} ms", milliseconds=round(milliseconds, 1))


def _unreachable(error: BackendError, kind: DoctorKind) -> str:
    text = str(error)
    if isinstance(error, BackendRefused) and error.status in (401, 403):
        return advise("key", kind)
    if "cannot reach" in text or "does not accept a connection" in text:
        return advise("start", kind)
    if isinstance(error, BackendUnavailable) and error.retry:
        return "wait until the server has loaded its model, or has less to do"
    if isinstance(error, BackendRefused) or any(sign in text for sign in _NO_API):
        return "write the base URL of the API"
    return advise("failed", kind)


async def model(probe: ServerProbe) -> Verdict:
    """Which model is asked for, and which ones there are."""
    try:
        await probe.discover()
    except BackendUnavailable as error:
        return broken(str(error), _unreachable(error, probe.declared))
    except (ConfigurationError, ServerMisconfigured) as error:
        return broken(str(error), advise("model", probe.declared))
    facts = probe.facts
    others = [name for name in facts.models if name != facts.model]
    seen = f"serves {facts.model}"
    if facts.root and facts.root.rstrip("/").rpartition("/")[2] != facts.model:
        seen += f" (from {facts.root})"
    if others:
        more = ", …" if len(others) > _NAMES else ""
        seen += f"; also listed: {', '.join(others[:_NAMES])}{more}"
    if probe.cards and probe.bound is None:
        seen += "; nothing is known about it that would tell how fast it can be"
    return ok(seen)


async def version(probe: ServerProbe) -> Verdict:
    """Which program it is, and whether it is new enough."""
    facts, kind = probe.facts, probe.kind
    seen = f"{_TITLES[kind]}{f' {facts.version}' if facts.version else ''}"
    if kind != probe.declared and probe.declared != "openai":
        return warning(f"it is {seen}, not {_TITLES[probe.declared]}", f"write {kind}:<base URL>")
    if kind == "ollama" and (why := _not_in_ollama(facts)):
        return warning(
            f"{seen}, {why}: this is another model of that name", "serve Ling with SGLang or vLLM"
        )
    if facts.version is None:
        fix = "let /version be read" if kind == "vllm" else ""
        return unknown(f"{seen}; it does not say its version", fix)
    if is_hybrid_ling(facts) and kind in _FOR_LING:
        oldest, why = _FOR_LING[kind]
        if _number(facts.version) < _number(oldest):
            return broken(
                f"{seen}, too old for Ling: {why}", f"use {_TITLES[kind]} {oldest} or newer"
            )
    if kind in _AT_ALL:
        oldest, why = _AT_ALL[kind]
        if _number(facts.version) < _number(oldest):
            return warning(f"{seen}, which is old: {why}", f"use {_TITLES[kind]} {oldest} or newer")
    return ok(seen)


def _not_in_ollama(facts: ServerFacts) -> str:
    """Why a model that is called Ling is none there; empty where it may be one.

    Ollama runs models in llama.cpp's own server since 0.30 (read: its history, 2026-05-29), which
    knows Ling 1, 2.0 and 3.0.
    """
    if not is_ling(facts):
        return ""
    if facts.version is None or _number(facts.version) < _number("0.30"):
        return "which has no Ling architecture"
    return "whose llama.cpp has no Ling 2.5 and 2.6" if is_linear_ling(facts) else ""


def _number(text: str) -> tuple[int, int, int, int]:
    """``0.5.10.post1`` -> (0, 5, 10, 1); what is before a release counts as it."""
    numbers = [int(part) for part in re.findall(r"\d+", re.split(r"[^\d.]", text, maxsplit=1)[0])]
    post = re.search(r"post(\d+)", text)
    major, minor, patch = (*numbers[:3], 0, 0, 0)[:3]
    return major, minor, patch, int(post[1]) if post else 0


async def window(probe: ServerProbe) -> Verdict:
    """How long prompt and answer may be."""
    facts, kind = probe.facts, probe.kind
    tokens = facts.context_window
    if tokens is None:
        return warning(
            "the server does not say how long its context window is: prompts that do not fit are "
            "found only when it refuses or cuts them",
            advise("window-unknown", kind),
        )
    known = known_model(facts.model, facts.root)
    taken_for = known or (usual_ling() if is_ling(facts) else None)
    own = taken_for.native_context if taken_for else tokens
    if tokens > own:
        return _stretched(probe, tokens, own, known)
    if tokens < _SMALL:
        return warning(
            f"{tokens:,} tokens: few for tools, their results and several steps",
            advise("window-small", kind),
        )
    return ok(f"{tokens:,} tokens", tokens=tokens)


def _stretched(probe: ServerProbe, tokens: int, own: int, known: ModelFacts | None) -> Verdict:
    """A window that is longer than the model's own."""
    if "yarn" in str(probe.info.get("json_model_override_args")).lower():
        return ok(f"{tokens:,} tokens, with the YaRN override", tokens=tokens)
    told = "is not set" if probe.info else "cannot be seen from here"
    seen = f"{tokens:,} tokens; {known.title if known else 'Ling'}'s own window is {own:,}"
    if known and known.max_context <= own:
        return warning(
            f"{seen}, and nothing is published that stretches it",
            f"serve it with a window of {own:,} tokens at most",
        )
    fix = yarn_advice(known or usual_ling(), probe.kind)
    fix = fix or f"serve it with a window of {own:,} tokens at most"
    return warning(f"{seen}, more needs YaRN, which {told}", fix)
