"""llama-server, the server of llama.cpp: its command line, and a script that starts it."""

from __future__ import annotations

from . import yarn
from .launch import HOST, KEY, Launch, several_lines

PORT = 8080
VERSION = "as in llama-cpp-python 0.3.36"
"""The version whose options are listed in tests/recipes."""


def command(launch: Launch) -> list[str]:
    """The command that starts it on this machine.

    Raises:
        ConfigurationError: A window that cannot be set.
    """
    parallel = launch.parallel or 1
    words = ["llama-server", *_model(launch), "--alias", launch.served]
    words += ["--host", HOST, "--port", str(launch.port)]
    words += ["--n-gpu-layers", "all"]
    if launch.cpu_experts:
        words += ["--n-cpu-moe", str(launch.cpu_experts)]
    # It divides the size of its context among the slots.
    words += ["--ctx-size", str(launch.context * parallel), "--parallel", str(parallel)]
    if launch.stretched:
        words += yarn.for_llama_cpp(launch)
    return [*words, "--jinja"]


def file_name(launch: Launch) -> str:
    """The GGUF file of a model without a repository: one of the user's own."""
    return f"{launch.model.title}-{launch.format.upper()}.gguf"


def _model(launch: Launch) -> list[str]:
    repository = launch.model.formats[launch.format].repository
    if repository:
        return ["--hf-repo", f"{repository}:{launch.format.upper()}"]
    return ["--model", file_name(launch)]


def script(launch: Launch, header: str) -> str:
    """A shell script, below comments. The key is in the environment, not in the command line."""
    return f"""#!/bin/sh
{header}
set -eu
export LLAMA_API_KEY="${{{KEY}:?set it to a key of your own}}"
exec {several_lines(command(launch))}
"""
