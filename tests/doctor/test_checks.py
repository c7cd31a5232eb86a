"""Each check of a server says ok to a good one, and can fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from ling_agent.doctor import Finding, examine
from tests.backends.remote.hostile import answer

from .stand_in import StandIn, models, serving, sglang, vllm

pytestmark = pytest.mark.anyio


async def findings(
    stand_in: StandIn | None = None,
    routes: dict[str, object] | None = None,
    *,
    scheme: str = "vllm",
    model: str = "",
) -> dict[str, Finding]:
    async with serving(stand_in or StandIn(), routes or vllm("m")) as server:
        report = await examine(f"{scheme}:{server.url}{f'#{model}' if model else ''}")
    return {finding.check: finding for finding in report.findings}


ORDER = [
    "reachable",
    "model",
    "version",
    "context-window",
    "tool-parser",
    "forced-call",
    "structural-tags",
    "streaming",
    "cached-tokens",
    "prefix-cache",
    "usage",
    "reasoning",
    "speed",
]


@pytest.mark.parametrize("scheme", ["vllm", "sglang"])
async def test_a_good_server_is_ok_throughout(scheme: str) -> None:
    routes = sglang("m") if scheme == "sglang" else vllm("m")
    found = await findings(routes=routes, scheme=scheme)
    assert list(found) == ORDER
    assert {name: f.seen for name, f in found.items() if f.status != "ok"} == {}
    assert not any(finding.fix for finding in found.values())
    assert found["speed"].figures["tokens_per_second"] > 0


@dataclass(frozen=True)
class Fault:
    """A faulty server, and what is to be found."""

    check: str
    status: str
    seen: str
    fix: str
    how: Mapping[str, Any] = field(default_factory=dict[str, Any])
    routes: dict[str, object] | None = None
    scheme: str = "vllm"
    model: str = ""

    def __str__(self) -> str:
        return f"{self.check}-{self.status}-{self.scheme}-{'-'.join(map(str, self.how.values()))}"


PARSER = "--enable-auto-tool-choice --tool-call-parser hermes"
LLAMA: dict[str, object] = {
    "/v1/models": models("m", owner="llamacpp", window=None),
    "/props": {"default_generation_settings": {"n_ctx": 4096}, "build_info": "b7000"},
}
OTHER: dict[str, object] = {"/v1/models": models("m", owner="someone", window=None)}
OLD_SGLANG = sglang("ling-2.6-flash", version="0.5.10", tool_call_parser="qwen")

CALLS = [
    Fault("tool-parser", "broken", "refuses tool_choice auto", PARSER, {"parser": "refuses"}),
    Fault("tool-parser", "broken", "does not support tools", PARSER, {"parser": "no-tools"}),
    Fault("tool-parser", "warning", "came as text, and ling_agent", PARSER, {"parser": "text"}),
    Fault("tool-parser", "warning", "tags came as text", PARSER, {"parser": "bare-text"}),
    Fault(
        "tool-parser",
        "warning",
        "as text without tags",
        PARSER,
        {"parser": "bare", "holds": None},
    ),
    Fault("tool-parser", "ok", "held to it by a structural tag", "", {"parser": "bare"}),
    Fault("tool-parser", "unknown", "made no call", PARSER, {"parser": "words"}),
    Fault("tool-parser", "broken", "sent nothing of 40", PARSER, {"parser": "loses"}),
    Fault("tool-parser", "broken", "without their arguments", PARSER, {"parser": "empty"}),
    Fault(
        "tool-parser",
        "broken",
        "without a tool parser",
        "--tool-call-parser qwen",
        routes=sglang("m", tool_call_parser=None),
        scheme="sglang",
    ),
    Fault(
        "tool-parser",
        "ok",
        "held to it by a structural tag",
        "",
        {"parser": "bare"},
        sglang("m"),
        "sglang",
    ),
    Fault(
        "tool-parser",
        "warning",
        "came as text",
        "--jinja",
        {"parser": "text"},
        LLAMA,
        "llama-server",
    ),
    Fault("tool-parser", "unknown", "no call", "larger", {"parser": "words"}, OTHER, "openai"),
    Fault("forced-call", "warning", "what came is get_weather", PARSER, {"names": False}),
    Fault("forced-call", "warning", "refuses tool_choice", PARSER, {"names": None}),
    Fault("forced-call", "unknown", "no tool parser", "", {"parser": "refuses"}),
    Fault("forced-call", "unknown", "does not obey", "", routes=OTHER, scheme="ollama"),
    Fault("structural-tags", "broken", "against its schema", "xgrammar", {"holds": False}),
    Fault("structural-tags", "broken", "no call came", "xgrammar", {"parser": "words"}),
    Fault("structural-tags", "warning", "refuses to hold", "xgrammar", {"holds": None}),
    Fault(
        "structural-tags",
        "broken",
        "against its schema",
        "--grammar-backend xgrammar",
        {"holds": False},
        sglang("m"),
        "sglang",
    ),
    Fault(
        "structural-tags",
        "warning",
        "cannot hold calls",
        "vLLM 0.11",
        routes={
            **vllm("m", "0.8.5"),
            "/openapi.json": {
                "paths": {"/v1/completions": {}},
                "components": {"schemas": {"ChatCompletionRequest": {"properties": {"model": {}}}}},
            },
        },
    ),
    Fault("structural-tags", "unknown", "not asked", "", routes=OTHER, scheme="openai"),
    Fault("streaming", "broken", "without their arguments", "#32152", {"streams": "empty"}),
    Fault(
        "streaming",
        "broken",
        "streamed",
        "stream=False",
        {"parser": "words", "holds": False, "streams": "text"},
    ),
    Fault("streaming", "warning", "differ from one time", "again", {"random": True}),
    Fault("reasoning", "broken", "came as reasoning", "out --reason", {"parser": "reasoning"}),
    Fault(
        "reasoning",
        "broken",
        "--reasoning-parser qwen3, which swallows",
        "without --reasoning-parser",
        routes=sglang("ling-2.6-flash", reasoning_parser="qwen3"),
        scheme="sglang",
    ),
]

CACHE = [
    Fault("cached-tokens", "warning", "not report", "--enable-prompt-tokens", {"reports": False}),
    Fault(
        "cached-tokens",
        "warning",
        "not report",
        "--enable-cache-report",
        {"reports": False},
        sglang("m"),
        "sglang",
    ),
    Fault("cached-tokens", "unknown", "not report", "", {"reports": False}, OTHER, "openai"),
    Fault("cached-tokens", "warning", "it is off", "--no-enable-prefix-caching", {"cached": 0}),
    Fault(
        "cached-tokens",
        "warning",
        "no prefix caching for this architecture",
        "SGLang",
        {"cached": 0},
        vllm("ling-2.6-flash"),
    ),
    Fault("prefix-cache", "broken", "different answers", "#53912", {"drifts": True}),
    Fault(
        "prefix-cache",
        "broken",
        "different answers",
        "--mamba-scheduler-strategy extra_buffer",
        {"drifts": True},
        sglang("m"),
        "sglang",
    ),
    Fault(
        "prefix-cache",
        "broken",
        "different",
        "--no-cache-prompt",
        {"drifts": True},
        LLAMA,
        "llama-server",
    ),
    Fault("prefix-cache", "broken", "different", "Ollama", {"drifts": True}, OTHER, "ollama"),
    Fault("usage", "warning", "of streamed answers", "stream_options", {"usage": "whole"}),
    Fault("usage", "warning", "is missing", "stream_options", {"usage": "never"}),
    Fault("speed", "warning", "all at once", "proxy_buffering off", {"streams": "at-once"}),
    Fault("speed", "unknown", "with nothing", "", {"streams": "nothing"}),
]

LOOKED = [
    Fault("version", "broken", "too old for Ling", "0.20.2", routes=vllm("Ling-2.6", "0.20.1")),
    Fault("version", "broken", "too old", "0.5.10.post1", routes=OLD_SGLANG, scheme="sglang"),
    Fault("version", "ok", "0.20.2rc1", "", routes=vllm("ling-2.6-flash", "0.20.2rc1.dev5+g1")),
    Fault("version", "ok", "0.20.1", "", routes=vllm("ling-mini-2.0", "0.20.1")),
    Fault("version", "ok", "0.20.1", "", routes=vllm("linguist-7b", "0.20.1")),
    Fault("version", "warning", "which is old", "0.11", routes=vllm("m", "0.10.2")),
    Fault("version", "warning", "not vLLM", "write sglang:", routes=sglang("m")),
    Fault("version", "unknown", "not say its version", "", routes=OTHER, scheme="openai"),
    Fault(
        "version",
        "warning",
        "no Ling architecture",
        "SGLang",
        routes={"/v1/models": models("ling:latest", owner="library")},
        scheme="ollama",
    ),
    Fault(
        "version",
        "unknown",
        "not say",
        "/version",
        routes={"/v1/models": models("m"), "/version": answer({}, status=404)},
    ),
    Fault("context-window", "warning", "not say", "--max-model", routes=vllm("m", window=None)),
    Fault("context-window", "warning", "not say", "window=N", routes=OTHER, scheme="openai"),
    Fault("context-window", "warning", "not say", "num_ctx", routes=OTHER, scheme="ollama"),
    Fault("context-window", "warning", "4,096", "--parallel", routes=LLAMA, scheme="llama-server"),
    Fault("context-window", "warning", "few", "--max-model-len", routes=vllm("m", window=2048)),
    Fault("context-window", "warning", "YaRN", "--hf-", routes=vllm("ling-2.6", window=262144)),
    Fault(
        "context-window",
        "warning",
        "is not set",
        '--json-model-override-args \'{"rope_scaling"',
        routes={
            **sglang("ling-2.6"),
            "/v1/models": models("ling-2.6", owner="sglang", window=262144),
        },
        scheme="sglang",
    ),
    Fault(
        "context-window",
        "ok",
        "with the YaRN override",
        "",
        routes={
            **sglang("ling", json_model_override_args='{"rope_scaling": {"rope_type": "yarn"}}'),
            "/v1/models": models("ling", owner="sglang", window=262144),
        },
        scheme="sglang",
    ),
    Fault("model", "broken", "serves 2 models", "#", routes={"/v1/models": models("a", "b")}),
    Fault("model", "ok", "also listed: b", "", routes={"/v1/models": models("a", "b")}, model="a"),
    Fault(
        "model",
        "ok",
        "serves m (from someone/large-m)",
        "",
        routes={
            "/v1/models": {"data": [{"id": "m", "owned_by": "vllm", "root": "someone/large-m"}]}
        },
    ),
    Fault("model", "broken", "does not serve 'c'", "served-model-name", model="c"),
    Fault("model", "broken", "serves no model", "behind #", routes={"/v1/models": {"data": []}}),
    Fault("model", "broken", "lists no models", "base URL", routes={"/v1/models": {"x": 1}}),
    Fault(
        "reachable",
        "broken",
        "(401)",
        "LING_AGENT_API_KEY",
        routes={"/v1/models": answer({"error": "no"}, status=401)},
    ),
    Fault(
        "reachable",
        "broken",
        "web page",
        "base URL",
        routes={"/v1/models": answer(b"<html>", content_type="text/html")},
    ),
    Fault(
        "reachable",
        "broken",
        "not ready",
        "wait",
        routes={"/v1/models": answer({"error": "loading"}, status=503)},
    ),
    Fault("reachable", "broken", "(404)", "base", routes={"/v1/models": answer({}, status=404)}),
    Fault("reachable", "broken", "(500)", "log", routes={"/v1/models": answer({}, status=500)}),
]


@pytest.mark.parametrize("fault", CALLS + CACHE + LOOKED, ids=str)
async def test_a_fault_is_found(fault: Fault) -> None:
    found = await findings(
        StandIn(**fault.how), fault.routes, scheme=fault.scheme, model=fault.model
    )
    finding = found[fault.check]
    assert (finding.status, fault.seen in finding.seen) == (fault.status, True), finding
    assert fault.fix in finding.fix, finding
    assert bool(finding.fix) == bool(fault.fix), finding
    if finding.status in ("warning", "broken"):
        assert finding.fix, "each one names what to change"


@pytest.mark.parametrize(
    ("how", "also"),
    [
        ({"parser": "refuses"}, {"structural-tags", "reasoning"}),
        ({"parser": "text"}, {"forced-call", "structural-tags"}),
        ({"names": False}, set[str]()),
        ({"holds": False}, set[str]()),
        ({"streams": "empty"}, set[str]()),
        ({"reports": False}, set[str]()),
        ({"cached": 0}, set[str]()),
        ({"drifts": True}, set[str]()),
        ({"usage": "whole"}, set[str]()),
    ],
)
async def test_one_fault_is_not_found_everywhere(how: dict[str, Any], also: set[str]) -> None:
    found = await findings(StandIn(**how))
    bad = {name for name, f in found.items() if f.status in ("warning", "broken")}
    assert len(bad - also) <= 1, bad


async def test_reasoning_of_a_model_that_thinks_is_no_fault() -> None:
    class Thinks(StandIn):
        def _message(self, body: dict[str, Any], seen: int) -> tuple[dict[str, Any], str]:
            message, finish = super()._message(body, seen)
            return {**message, "reasoning": "The user wants the weather."}, finish

    assert (await findings(Thinks()))["reasoning"].status == "ok"
    found = await findings(Thinks(), vllm("ling-2.6-flash"))
    assert (found["reasoning"].status, "--reasoning-parser" in found["reasoning"].fix) == (
        "warning",
        True,
    )


async def test_thinking_that_was_cut_is_no_fault() -> None:
    class ThinksLong(StandIn):
        def _message(self, body: dict[str, Any], seen: int) -> tuple[dict[str, Any], str]:
            return {"content": None, "reasoning": "The user wants a <tool_call>, so"}, "length"

    found = await findings(ThinksLong())
    assert (found["reasoning"].status, found["prefix-cache"].status) == ("ok", "ok")
    assert "cut by the token limit" in found["tool-parser"].seen
    assert found["structural-tags"].status == "unknown"


async def test_the_long_prompt_is_new_each_time_and_fits_a_small_window() -> None:
    stand_in = StandIn()
    for window in (32_768, 32_768, 1024):
        await findings(stand_in, vllm("m", window=window))
    texts = [body["messages"][0]["content"] for body in stand_in.asked if not body.get("tools")]
    long = [text for text in texts if "Copy lines" in text]
    assert len(long) == 9
    assert len(set(long)) == 3
    assert long[0].count("\n") > 80
    assert len(long[-1]) < 1024 * 2
