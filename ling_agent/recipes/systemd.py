"""A systemd unit that keeps vLLM or llama-server running."""

from __future__ import annotations

from collections.abc import Sequence

from . import llama_cpp, vllm
from .launch import Launch, by_option

KEY_FILE = "/etc/ling-agent/server.env"
"""The unit reads the key from here; only root needs to be able to read it."""

CACHE = "/var/cache/ling-agent"
"""Where the unit works, and keeps its weights: ``%C/ling-agent`` of a system service."""

_PROGRAMS = {"vllm": "/opt/vllm/bin/vllm", "llama.cpp": "/usr/local/bin/llama-server"}
_KEYS = {"vllm": "VLLM_API_KEY", "llama.cpp": "LLAMA_API_KEY"}


def engine(launch: Launch) -> str:
    """Which server the unit runs: vLLM where it loads the format, else llama-server."""
    return "vllm" if "vllm" in launch.model.formats[launch.format].servers else "llama.cpp"


def takes_file(launch: Launch) -> bool:
    """Whether it runs on a file of the user's own."""
    return engine(launch) == "llama.cpp" and not launch.model.formats[launch.format].repository


def key_variable(launch: Launch) -> str:
    """The variable of the key file from which that server takes its key."""
    return _KEYS[engine(launch)]


def command(launch: Launch) -> list[str]:
    """The command of the unit.

    Raises:
        ConfigurationError: No weights that the server loads, or a window that cannot be set.
    """
    server = engine(launch)
    words = vllm.command(launch) if server == "vllm" else llama_cpp.command(launch)
    return [_PROGRAMS[server], *words[1:]]


def unit(launch: Launch, header: str) -> str:
    """The unit, below comments."""
    return f"""{header}
[Unit]
Description={launch.model.title} on {"vLLM" if engine(launch) == "vllm" else "llama-server"}
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
DynamicUser=yes
CacheDirectory=ling-agent
Environment=HOME=%C/ling-agent HF_HOME=%C/ling-agent/huggingface
EnvironmentFile={KEY_FILE}
WorkingDirectory=%C/ling-agent
ExecStart={_exec(command(launch))}
Restart=on-failure
RestartSec=10
TimeoutStopSec=60
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
"""


def _exec(words: Sequence[str]) -> str:
    """A command by systemd's rules, one option a line."""
    groups = (" ".join(map(_word, group)) for group in by_option(words))
    return " \\\n    ".join(groups)


def _word(word: str) -> str:
    """A word: ``%`` and ``$`` would be replaced, and a blank or a quote would end it."""
    safe = word.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$")
    if not any(character in safe for character in " \t\"'"):
        return safe
    return '"' + safe.replace('"', '\\"') + '"'
