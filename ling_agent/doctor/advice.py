"""`advise`: which flag of which server to change.

The flags were read in vLLM 0.32, SGLang 0.5.23 and the documentation of llama.cpp and Ollama; what
is said about Ling is on the page docs/ling.md, with how it is known.
"""

from __future__ import annotations

from typing import Literal

from ..backends.remote.facts import Kind, ServerFacts
from ..profiles import name_words

DoctorKind = Kind | Literal["llamacpp"]

LING_WINDOW = 131_072
"""Tokens of Ling-2.6-flash without an override (read: SGLang cookbook)."""

_YARN = (
    '{"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "rope_theta": 6000000, '
    '"partial_rotary_factor": 0.5, "original_max_position_embeddings": 131072}}'
)

_FLAGS: dict[str, dict[str, str]] = {
    "start": {
        "vllm": "start it: vllm serve MODEL --enable-auto-tool-choice --tool-call-parser hermes "
        "--enable-prompt-tokens-details; or correct the URL",
        "sglang": "start it: python -m sglang.launch_server --model-path MODEL "
        "--tool-call-parser qwen --enable-cache-report; or correct the URL",
        "llama-server": "start it: llama-server -m MODEL.gguf --jinja; or correct the URL",
        "ollama": "start it: ollama serve; or correct the URL",
        "*": "start the server, or correct the URL",
    },
    "key": {
        "vllm": "set LING_AGENT_API_KEY to the value of the server's --api-key",
        "sglang": "set LING_AGENT_API_KEY to the value of the server's --api-key",
        "llama-server": "set LING_AGENT_API_KEY to the value of the server's --api-key",
        "*": "set LING_AGENT_API_KEY to a key that the server accepts",
    },
    "model": {
        "vllm": "name a listed model behind #, or start vLLM with --served-model-name NAME",
        "sglang": "name a listed model behind #, or start SGLang with --served-model-name NAME",
        "llama-server": "name a listed model behind #, or start llama-server with --alias NAME",
        "ollama": "name a listed model behind #, or: ollama pull NAME",
        "*": "name a listed model behind #",
    },
    "window-unknown": {
        "vllm": "set --max-model-len N, and ask the server itself, not a proxy that hides it",
        "sglang": "set --context-length N, and ask the server itself, not a proxy that hides it",
        "llama-server": "set -c N, and let /props be read",
        "ollama": "set OLLAMA_CONTEXT_LENGTH=N for ollama serve, or PARAMETER num_ctx N in the "
        "Modelfile; prompts above it are cut silently",
        "*": "tell it: OpenAIBackend(…, context_window=N)",
    },
    "window-small": {
        "vllm": "start vLLM with a larger --max-model-len",
        "sglang": "start SGLang with a larger --context-length",
        "llama-server": "start llama-server with a larger -c, which it divides by --parallel",
        "ollama": "set a larger OLLAMA_CONTEXT_LENGTH for ollama serve, or num_ctx in the "
        "Modelfile",
        "llamacpp": "give LlamaCppBackend a larger n_ctx, as far as memory and model allow",
        "*": "serve the model with a longer context window",
    },
    "yarn": {
        "vllm": f"vLLM: --max-model-len N --hf-overrides '{_YARN}' (inferred from SGLang's)",
        "sglang": f"SGLang: --context-length N --json-model-override-args '{_YARN}'",
        "llama-server": "llama-server: --rope-scaling yarn --rope-scale 2 --yarn-orig-ctx 131072 "
        "(inferred from SGLang's)",
        "*": f"YaRN with factor 2 over {LING_WINDOW}, or a window of at most {LING_WINDOW}",
    },
    "parser": {
        "vllm": "start vLLM with --enable-auto-tool-choice --tool-call-parser hermes",
        "sglang": "start SGLang with --tool-call-parser qwen (qwen25 in older versions)",
        "llama-server": "start llama-server with --jinja and the model's own chat template",
        "ollama": "take a model whose template has tools: ollama show MODEL lists the capability",
        "*": "turn the server's tool calling on, or take a server whose tool parser fits the model",
    },
    "forced": {
        "vllm": "use vLLM 0.11 or newer with --enable-auto-tool-choice --tool-call-parser hermes",
        "sglang": "start SGLang with --tool-call-parser qwen --grammar-backend xgrammar",
        "llama-server": "start llama-server with --jinja",
        "*": "nothing to set: calls are then asked for, not forced",
    },
    "tag": {
        "vllm": "start vLLM 0.11 or newer with --structured-outputs-config "
        '\'{"backend": "xgrammar"}\'',
        "sglang": "start SGLang 0.5.10 or newer with --grammar-backend xgrammar",
        "*": "take vLLM or SGLang where calls must be held to their schema",
    },
    "streaming": {
        "vllm": "update vLLM, leave out --speculative-config (vLLM #32152), or use "
        "VLLMBackend(…, stream=False)",
        "sglang": "update SGLang, check --tool-call-parser qwen, or use "
        "SGLangBackend(…, stream=False)",
        "*": "update the server and look at proxies in front of it, or use stream=False",
    },
    "buffered": {
        "*": "turn response buffering off in the proxy (nginx: proxy_buffering off)",
    },
    "cache-report": {
        "vllm": "start vLLM with --enable-prompt-tokens-details",
        "sglang": "start SGLang with --enable-cache-report",
        "llama-server": "update llama-server: newer ones report it always",
    },
    "cache-off": {
        "vllm": "leave out --no-enable-prefix-caching",
        "sglang": "leave out --disable-radix-cache",
        "llama-server": "leave out --no-cache-prompt",
        "*": "turn the server's prefix cache on",
    },
    "cache-wrong": {
        "vllm": "start vLLM with --no-enable-prefix-caching (vLLM #53912, #47861)",
        "sglang": "start SGLang with --mamba-scheduler-strategy extra_buffer (SGLang #29973; in "
        "0.5.23 it is called --mamba-radix-cache-strategy), or with --disable-radix-cache",
        "llama-server": "start llama-server with --no-cache-prompt --cache-ram 0",
        "ollama": "Ollama has no flag for it: update it, or take another server",
        "llamacpp": "report it with the model file: the embedded engine has no setting for it",
        "*": "turn the server's prefix cache off",
    },
    "usage": {
        "vllm": "update vLLM; a proxy in front of it must pass stream_options on",
        "sglang": "update SGLang; a proxy in front of it must pass stream_options on",
        "*": "let the server (and a proxy) honour stream_options.include_usage",
    },
    "reasoning": {
        "vllm": "start vLLM without --reasoning-parser",
        "sglang": "start SGLang without --reasoning-parser",
        "llama-server": "start llama-server with --reasoning-format none",
        "*": "turn the server's reasoning parser off for this model",
    },
    "gpu": {
        "*": "build llama.cpp for the GPU: put GGML_CUDA=ON; in front of SKBUILD_CMAKE_DEFINE and "
        "pip install --force-reinstall --no-cache-dir 'ling-agent[llamacpp]'",
    },
    "failed": {
        "*": "look into the server's log",
    },
}


def advise(topic: str, kind: DoctorKind) -> str:
    """What to change.

    Args:
        topic: A key of the table.
        kind: Of the server.
    """
    flags = _FLAGS[topic]
    return flags.get(kind) or flags.get("*", "")


def is_ling(facts: ServerFacts) -> bool:
    """Whether the served model is called Ling, by its name or where it came from."""
    return "ling" in _words(facts)


def is_hybrid_ling(facts: ServerFacts) -> bool:
    """Whether it is a Ling with linear attention (2.5, 2.6), as far as its name tells."""
    return is_ling(facts) and not {"2.0", "lite", "plus", "1.5"} & _words(facts)


def _words(facts: ServerFacts) -> set[str]:
    return name_words(facts.model, facts.root)
