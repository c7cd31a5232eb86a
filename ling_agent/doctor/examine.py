"""`examine`: the checks in their order, one request at a time, and what a failure means."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from ..backends import Backend, Timeouts, open_backend
from ..backends.remote.address import parse_address
from ..backends.remote.facts import Kind
from ..backends.remote.keys import find_key
from ..backends.remote.transport import HttpTransport
from ..errors import BackendError, BackendRefused, BackendUnavailable
from ..facts import gpu as find_card
from . import cache_checks, call_checks, embedded_checks, sampling_checks, server_checks
from .advice import advise
from .findings import Finding, Report, Verdict, broken, ok, one_line, unknown, warning
from .known import Cards
from .probe import EmbeddedProbe, Probe, ServerProbe
from .speed import speed

_TIMEOUTS = (10.0, 300.0, 60.0)  # a server may load its model at the first request

P = TypeVar("P", bound=Probe)
Check = tuple[str, Callable[[P], Awaitable[Verdict]]]

_SERVER: Sequence[Check[ServerProbe]] = (
    ("reachable", server_checks.reachable),
    ("model", server_checks.model),
    ("version", server_checks.version),
    ("context-window", server_checks.window),
    ("tool-parser", call_checks.tool_parser),
    ("forced-call", call_checks.forced_call),
    ("structural-tags", call_checks.structural_tags),
    ("streaming", call_checks.streaming),
    ("cached-tokens", cache_checks.cached_tokens),
    ("prefix-cache", cache_checks.consistency),
    ("usage", cache_checks.usage),
    ("reasoning", call_checks.reasoning),
    ("default-sampling", sampling_checks.default_sampling),
    ("speed", speed),
)
_EMBEDDED: Sequence[Check[EmbeddedProbe]] = (
    ("model", embedded_checks.model),
    ("context-window", embedded_checks.window),
    ("device", embedded_checks.device),
    ("cached-tokens", cache_checks.cached_tokens),
    ("prefix-cache", cache_checks.consistency),
    ("speed", speed),
)
_ESSENTIAL = ("reachable", "model")
"""Without these the other checks have nothing to ask."""

OnCheck = Callable[[str, str], None]
OnFinding = Callable[[Finding], None]


async def examine(
    spec: str,
    *,
    api_key: str | None = None,
    timeouts: Timeouts | None = None,
    gpu: str | None = None,
    gpus: int = 1,
    on_check: OnCheck | None = None,
    on_finding: OnFinding | None = None,
) -> Report:
    """Examine a backend: each server of it, with about a dozen short requests.

    Args:
        spec: A backend string, ``vllm:http://a:8000,http://b:8000`` or ``llamacpp:…``.
        api_key: Bearer token; the default is ``LING_AGENT_API_KEY``. No finding repeats it.
        timeouts: How long a server may take.
        gpu: What each server runs on, ``rtx-4090``: the speed is then told beside what the card's
            memory allows. The embedded engine's is asked for.
        gpus: How many of them.
        on_check: Called with the server and the name of a check before it begins.
        on_finding: Called with each finding.

    Raises:
        ConfigurationError: Not a backend string, the embedded engine is not installed, or nothing
            is known about the card.
    """
    backend = open_backend(spec)
    key = find_key(api_key)
    cards = Cards(find_card(gpu), gpus) if gpu else None
    watch = _Watch(
        on_check or (lambda server, check: None),
        on_finding or (lambda finding: None),
        (key,) if key else (),
    )
    started = time.monotonic()
    scheme, _, target = backend.name.partition(":")
    if scheme == "llamacpp":
        await _embedded(backend, watch)
    else:
        await _servers(scheme, target, key, timeouts or Timeouts(*_TIMEOUTS), watch, cards)
    return Report(backend.name, tuple(watch.findings), time.monotonic() - started)


class _Watch:
    """Takes the findings, and tells them."""

    def __init__(
        self, on_check: OnCheck, on_finding: OnFinding, secret_texts: tuple[str, ...]
    ) -> None:
        self.on_check = on_check
        self._on_finding = on_finding
        self._secrets = secret_texts
        self.findings: list[Finding] = []

    def add(self, server: str, check: str, verdict: Verdict) -> None:
        seen = one_line(verdict.seen, self._secrets)
        fix = " ".join(verdict.fix.split())
        finding = Finding(server, check, verdict.status, seen, fix, verdict.figures)
        self.findings.append(finding)
        self._on_finding(finding)


async def _servers(
    scheme: str,
    target: str,
    key: str | None,
    timeouts: Timeouts,
    watch: _Watch,
    cards: Cards | None,
) -> None:
    address = parse_address(target)
    probes: list[ServerProbe] = []
    for url in address.urls:
        transport = HttpTransport(url, api_key=key, timeouts=timeouts)
        probe = ServerProbe(
            transport,
            declared=_kind(scheme),
            model=address.model,
            nonce=secrets.token_hex(4),
            cards=cards,
        )
        try:
            if await _Examination(probe, url, watch).run(_SERVER):
                probes.append(probe)
        finally:
            await transport.aclose()
    if len(address.urls) > 1 and len(probes) > 1:
        watch.add("", "same-model", _same(probes))


def _kind(scheme: str) -> Kind:
    kinds: tuple[Kind, ...] = ("vllm", "sglang", "llama-server", "ollama", "openai")
    return next(kind for kind in kinds if kind == scheme)


async def _embedded(backend: Backend, watch: _Watch) -> None:
    probe = EmbeddedProbe(backend, secrets.token_hex(4))
    await _Examination(probe, backend.name, watch).run(_EMBEDDED)


class _Examination(Generic[P]):
    """The checks of one server."""

    def __init__(self, probe: P, server: str, watch: _Watch) -> None:
        self._probe = probe
        self._server = server
        self._watch = watch

    async def run(self, checks: Sequence[Check[P]]) -> bool:
        """Run them; whether it came to the end."""
        gone = False
        for name, check in checks:
            if gone:
                self._watch.add(self._server, name, unknown("not asked: the server is gone"))
                continue
            self._watch.on_check(self._server, name)
            verdict, gone = await self._verdict(check)
            self._watch.add(self._server, name, verdict)
            if verdict.status == "broken" and name in _ESSENTIAL:
                return False
        return not gone

    async def _verdict(self, check: Callable[[P], Awaitable[Verdict]]) -> tuple[Verdict, bool]:
        """The verdict, and whether the server is gone."""
        probe = self._probe
        try:
            return await check(probe), False
        except BackendUnavailable as error:
            alive = not isinstance(probe, ServerProbe) or await probe.alive()
            if error.retry and alive:
                return warning(f"not told: {error}", "examine it again without other load"), False
            topic = "memory" if "out of memory" in str(error).lower() else "failed"
            return broken(str(error), advise(topic, probe.kind)), not alive
        except BackendRefused as error:
            topic = "key" if error.status in (401, 403) else "failed"
            return broken(str(error), advise(topic, probe.kind)), False
        except BackendError as error:
            return broken(str(error), advise("failed", probe.kind)), False


def _same(probes: Sequence[ServerProbe]) -> Verdict:
    """Whether several servers can stand for each other."""
    models = sorted({probe.facts.model for probe in probes})
    windows = sorted({probe.facts.context_window or 0 for probe in probes})
    if len(models) > 1:
        return broken(
            f"the servers serve different models: {', '.join(models)}",
            "serve the same one on all, or name it behind #",
        )
    if len(windows) > 1:
        shown = ", ".join(f"{tokens:,}" if tokens else "unknown" for tokens in windows)
        return warning(
            f"the servers have different context windows: {shown}",
            advise("window-small", probes[0].kind),
        )
    return ok(f"{len(probes)} servers serve {models[0]}")
