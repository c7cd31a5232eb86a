"""Ollama: what it runs, as a note with its commands."""

from __future__ import annotations

from . import yarn
from .launch import Launch

PORT = 11434


def command(launch: Launch) -> list[str]:
    """The command that gets the model from the repository of its GGUF file.

    Raises:
        ConfigurationError: No repository is known, or a window longer than the model's own.
    """
    yarn.refuse(launch, "Ollama")
    return ["ollama", "pull", name(launch)]


def name(launch: Launch) -> str:
    """The model as Ollama calls it.

    Raises:
        ConfigurationError: No repository is known.
    """
    return f"hf.co/{launch.weights}:{launch.format.upper()}"


def note(launch: Launch, header: str) -> str:
    """The note, in Markdown, below a comment."""
    return f"""{header}
# {launch.model.title} on Ollama

Ollama cuts what does not fit into its window without a word, and its window is short unless it is
told otherwise. So start the server with the window (in place of the one that runs as a service):

```sh
OLLAMA_CONTEXT_LENGTH={launch.context} OLLAMA_HOST=127.0.0.1:{launch.port} ollama serve
```

Then get the model:

```sh
OLLAMA_HOST=127.0.0.1:{launch.port} ollama pull {name(launch)}
```

Ollama has no API key: leave it on this machine, or put a proxy in front of it that asks for one.

**Ling**: before 0.30 Ollama has no architecture of it. Since then it runs GGUF files in llama.cpp's
server (read in its history), which has Ling 1, 2.0 and 3.0: they may load, which was not tried. It
does not have 2.5 and 2.6. llama-server runs Ling 1 and 2.0, vLLM and SGLang run all of them:
`ling-agent recipe --server llama.cpp --model ling-mini-2.0`.
"""
