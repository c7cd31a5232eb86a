"""`advise`: which flag of which server to change.

The flags were read in vLLM 0.32, SGLang 0.5.23 and the documentation of llama.cpp and Ollama; what
is said about Ling is on the page docs/ling.md, with how it is known.
"""

from __future__ import annotations

from typing import Literal

from ..backends.remote.facts import Kind, ServerFacts
from ..profiles import name_words

DoctorKind = Kind | Literal["llamacpp"]

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
    "parser": {
        "vllm": "start vLLM with --enable-auto-tool-choice --tool-call-parser hermes",
        "sglang": "start SGLang with --tool-call-parser qwen (qwen25 in older versions)",
        "llama-server": "start llama-server with --jinja and the model's own chat template",
        "ollama": "take a model whose template has tools: ollama show MODEL lists the capability",
        "*": "turn the server's tool calling on, or take a server whose tool parser fits the model",
    },
    "parser-3": {
        "vllm": "start vLLM with --enable-auto-tool-choice --tool-call-parser ling3",
        "sglang": "start SGLang with --tool-call-parser ling3",
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
    "sampling": {
        "vllm": "send a temperature with each request, as ling_agent does; for other clients start "
        "vLLM with --override-generation-config '{\"temperature\": 0.1}'",
        "sglang": "send a temperature with each request, as ling_agent does; for other clients "
        'write "temperature": 0.1 into the generation_config.json beside the weights and start '
        "SGLang with --sampling-defaults model",
        "llama-server": "send a temperature with each request, as ling_agent does; for other "
        "clients start llama-server with --temp 0.1",
        "ollama": "send a temperature with each request, as ling_agent does; for other clients "
        "write PARAMETER temperature 0.1 into the Modelfile",
        "*": "send a temperature with each request, as ling_agent does",
    },
    "memory": {
        "vllm": "start vLLM with a smaller --max-model-len or --max-num-seqs, with more cards "
        "(--tensor-parallel-size), or take a smaller format of the weights",
        "sglang": "start SGLang with a smaller --mem-fraction-static, --max-running-requests or "
        "--context-length, with more cards (--tp-size), or take a smaller format of the weights",
        "llama-server": "start llama-server with a smaller -c or --parallel, with --n-cpu-moe N, "
        "or take a stronger quantisation",
        "ollama": "set a smaller num_ctx, or take a stronger quantisation",
        "llamacpp": "free memory, pass a smaller n_ctx or n_parallel, or take a stronger "
        "quantisation; ling-agent fit says what fits",
        "*": "give the server more memory, a shorter window, or a smaller format of the weights",
    },
    "architecture": {
        "*": "take llamacpp:ling-mini-2.0, or serve this model with SGLang or vLLM",
    },
    "file": {
        "*": "download the file again and compare its SHA-256; ling-agent models verify does it "
        "for those of the catalogue",
    },
    "queue": {
        "vllm": "examine it again without other load; leave chunked prefill on, and keep the front "
        "of the prompt the same, so that the prefix cache holds it",
        "sglang": "examine it again without other load; keep the front of the prompt the same, so "
        "that the prefix cache holds it",
        "llama-server": "examine it again without other load; put the layers on the GPU "
        "(-ngl 99), and use a larger -ub",
        "*": "examine it again without other load; put the model on a GPU",
    },
    "gpu": {
        "*": "build llama.cpp for the GPU: put GGML_CUDA=ON; in front of SKBUILD_CMAKE_DEFINE and "
        "pip install --force-reinstall --no-cache-dir 'ling-agent[llamacpp]'",
    },
    "failed": {
        "llamacpp": "look up llama.cpp's words on the page Troubleshooting of the documentation",
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
    """Whether it is a Ling with linear attention (from 2.5 on), as far as its name tells."""
    words = _words(facts)
    older = {"2.0", "lite", "plus", "1.5"} & words or ("1t" in words and not is_linear_ling(facts))
    return is_ling(facts) and not older


def is_linear_ling(facts: ServerFacts) -> bool:
    """Whether its name says Ling 2.5 or 2.6."""
    return is_ling(facts) and bool({"2.5", "2.6"} & _words(facts))


def is_ling_3(facts: ServerFacts) -> bool:
    """Whether it is a Ling 3, whose calls have another format and which thinks by default."""
    return is_ling(facts) and any(word == "3" or word.startswith("3.") for word in _words(facts))


def advise_parser(facts: ServerFacts, kind: DoctorKind) -> str:
    """The flags of the tool parser: Ling 3 has one of its own (read: vLLM 0.32, SGLang 0.5.23)."""
    return (advise("parser-3", kind) if is_ling_3(facts) else "") or advise("parser", kind)


def _words(facts: ServerFacts) -> set[str]:
    return name_words(facts.model, facts.root)
