"""vLLM: its command line, and a compose file that runs its image."""

from __future__ import annotations

import json

from . import yarn
from .launch import HOST, KEY, Launch

PORT = 8000
VERSION = "0.32.0"
"""The version whose own parser reads the flags of every recipe in tests/servers."""

IMAGE = f"vllm/vllm-openai:v{VERSION}"


def command(launch: Launch) -> list[str]:
    """The command that starts it on this machine.

    Raises:
        ConfigurationError: No weights that it loads, or a window that cannot be set.
    """
    return ["vllm", "serve", *arguments(launch)]


def arguments(launch: Launch, *, host: str = HOST) -> list[str]:
    """What follows ``vllm serve``.

    Raises:
        ConfigurationError: No weights that it loads, or a window that cannot be set.
    """
    served = launch.model.servers["vllm"]
    words = [launch.weights, "--served-model-name", launch.served]
    words += ["--host", host, "--port", str(launch.port), *served.flags]
    if launch.gpus > 1:
        # Three cards cannot share 32 heads; each of them gets a part of the layers.
        kind = "tensor" if launch.splits_layers() else "pipeline"
        words += [f"--{kind}-parallel-size", str(launch.gpus)]
    words += ["--max-model-len", str(launch.context)]
    if launch.stretched:
        words += ["--hf-overrides", yarn.for_vllm(launch)]
    if launch.parallel is not None:
        words += ["--max-num-seqs", str(launch.parallel)]
    if launch.lightning:
        # Up to the recipe's version there is none for these layers; 0.32 has it, by default, and
        # wrong states were reported (#53912, #47861). Nobody has tried it with Ling here.
        words += ["--no-enable-prefix-caching"]
    words += ["--enable-auto-tool-choice", "--tool-call-parser", tool_parser(launch)]
    return [*words, "--enable-prompt-tokens-details"]


def tool_parser(launch: Launch) -> str:
    """The server's parser for the model's calls.

    ``ling3`` reads the dialect with ``<arg_key>``: Ling 3.0's, and, inferred, that of Ring 2.6.
    """
    return "ling3" if launch.arg_keys else launch.model.servers["vllm"].tool_parser or "hermes"


def compose(launch: Launch, header: str) -> str:
    """A compose file, below comments.

    The server listens inside of its container, and the port is published to this machine only.
    """
    words = arguments(launch, host="0.0.0.0")
    listed = "\n".join(f"      - {_yaml(word)}" for word in words)
    port = launch.port
    return f"""{header}
services:
  vllm:
    image: {IMAGE}
    command:
{listed}
    ports:
      - "{HOST}:{port}:{port}"
    environment:
      VLLM_API_KEY: ${{{KEY}:?set it to a key of your own}}
      HF_TOKEN: ${{HF_TOKEN:-}}
      HF_HOME: /huggingface
    volumes:
      - huggingface:/huggingface
    ipc: host
    deploy:
      resources:
        reservations:
          devices:
            - driver: nvidia
              count: {launch.gpus}
              capabilities: [gpu]
    healthcheck:
      test:
        - CMD
        - python3
        - -c
        - import urllib.request; urllib.request.urlopen("http://127.0.0.1:{port}/health")
      interval: 30s
      timeout: 10s
      retries: 3
      start_period: 60m
    restart: unless-stopped

volumes:
  huggingface: {{}}
"""


def _yaml(word: str) -> str:
    """A word of a command. JSON's strings are YAML's, and a dollar of ours names no variable."""
    return json.dumps(word).replace("$", "$$")
