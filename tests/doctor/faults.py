"""Servers with one fault each, and what doctor is to find: a table for each kind of check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.backends.remote.hostile import answer

from .stand_in import models, sglang, vllm


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


def served_by_ollama(model: str) -> dict[str, object]:
    return {"/v1/models": models(model, owner="library", window=None)}


PARSER = "--enable-auto-tool-choice --tool-call-parser hermes"
LLAMA: dict[str, object] = {
    "/v1/models": models("m", owner="llamacpp", window=None),
    "/props": {"default_generation_settings": {"n_ctx": 4096}, "build_info": "b7000"},
}
OTHER: dict[str, object] = {"/v1/models": models("m", owner="someone", window=None)}
LLAMA_LING = {**LLAMA, "/v1/models": models("ling-mini-2.0", owner="llamacpp", window=None)}
LING_3 = sglang("ling-3.0-flash", reasoning_parser="ling3", tool_call_parser="ling3")
OLLAMA_30: dict[str, object] = {"/api/version": {"version": "0.30.1"}}
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
    Fault("reasoning", "ok", "none of", "", routes=LING_3, scheme="sglang"),
    Fault("tool-parser", "warning", "came as text", "ling3", {"parser": "text"}, LING_3, "sglang"),
    Fault(
        "tool-parser",
        "broken",
        "refuses",
        "--tool-call-parser ling3",
        {"parser": "refuses"},
        vllm("Ling-3.0-flash"),
    ),
]

SAMPLING = [
    Fault("default-sampling", "ok", "the same answer twice", ""),
    Fault("default-sampling", "ok", "ling_agent sends its own", "", {"draws": True}),
    Fault(
        "default-sampling",
        "warning",
        "names no temperature",
        "--override-generation-config",
        {"draws": True},
        vllm("ling-2.6-flash"),
    ),
    Fault(
        "default-sampling",
        "warning",
        "river, lamp, word",
        "--sampling-defaults model",
        {"draws": True},
        sglang("ling-2.6-flash"),
        "sglang",
    ),
    Fault(
        "default-sampling", "warning", "draws", "--temp 0.1", {"draws": True}, LLAMA_LING, "openai"
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
        '--json-model-override-args \'{"max_position_embeddings": 262144, "rope_scaling"',
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
    Fault(
        "context-window",
        "warning",
        "Qwen2.5-7B-Instruct's own window is 32,768, more needs YaRN",
        "YaRN with factor 4 over 32768, or a window of at most 32768",
        routes=vllm("Qwen2.5-7B-Instruct", window=131_072),
    ),
    Fault("context-window", "ok", "262,144", "", routes=vllm("ling-2.5-1t", window=262_144)),
    Fault(
        "context-window",
        "warning",
        "nothing is published that stretches it",
        "32,768 tokens at most",
        routes=vllm("qwen2.5-coder-0.5b-instruct", window=65_536),
    ),
    Fault("version", "ok", "0.20.1", "", routes=vllm("ling-1t", "0.20.1")),
    Fault(
        "version",
        "warning",
        "no Ling 2.5 and 2.6",
        "SGLang",
        routes={**OTHER, **served_by_ollama("ling-2.6-flash"), **OLLAMA_30},
        scheme="ollama",
    ),
    Fault(
        "version",
        "ok",
        "Ollama 0.30.1",
        "",
        routes={**OTHER, **served_by_ollama("ling-mini-2.0"), **OLLAMA_30},
        scheme="ollama",
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
