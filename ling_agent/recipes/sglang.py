"""SGLang: its command line, and a script that starts it."""

from __future__ import annotations

from . import yarn
from .launch import HOST, KEY, Launch, Raw, several_lines

PORT = 30000
VERSION = "0.5.23"
"""The version whose own parser reads the flags of every recipe in tests/servers."""


def command(launch: Launch) -> list[str]:
    """The command that starts it on this machine.

    There is never a ``--reasoning-parser``: it takes Ling's calls for reasoning.

    Raises:
        ConfigurationError: No weights that it loads, or a window that cannot be set.
    """
    served = launch.model.servers["sglang"]
    words = ["python", "-m", "sglang.launch_server", "--model-path", launch.weights]
    words += ["--served-model-name", launch.served, "--host", HOST, "--port", str(launch.port)]
    words += served.flags
    if launch.gpus > 1:
        words += ["--tp-size" if launch.splits_layers() else "--pp-size", str(launch.gpus)]
    words += ["--context-length", str(launch.context)]
    if launch.stretched:
        words += ["--json-model-override-args", yarn.for_sglang(launch)]
    if launch.parallel is not None:
        words += ["--max-running-requests", str(launch.parallel)]
    return [*words, "--tool-call-parser", tool_parser(launch), "--enable-cache-report"]


def tool_parser(launch: Launch) -> str:
    """``qwen`` for Hermes calls (``qwen25`` is its old name), ``ling3`` for ``<arg_key>``."""
    return "ling3" if launch.arg_keys else launch.model.servers["sglang"].tool_parser or "qwen"


def script(launch: Launch, header: str) -> str:
    """A shell script, below comments. SGLang takes its key as an option only."""
    words = [*command(launch), "--api-key", Raw(f'"${KEY}"')]
    return f"""#!/bin/sh
{header}
set -eu
: "${{{KEY}:?set it to a key of your own}}"
exec {several_lines(words)}
"""
